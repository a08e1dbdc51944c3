"""`python -m kedge` is `kedge`."""

from kedge.cli.main import main

main()
