"""Starts the runner in a container: `python3 -I -S /opt/kedge`, where this file is `__main__.py`."""

import sys

from kedge_runner.main import main

sys.exit(main())
