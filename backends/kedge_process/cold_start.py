"""A program of its own: one runner in a fresh interpreter, its assignment on standard input.

Started by `python -I -S cold_start.py SOURCE`. Does what a child of the fork server does.
"""

from __future__ import annotations

import json
import os
import sys


def main(source: str) -> None:
    """Wait for the assignment and do it. Never returns."""
    sys.path.insert(0, source)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from fork_server import carry_out  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

    from kedge_runner.main import run

    with os.fdopen(0, "rb", closefd=False) as file:
        line = file.readline()
    os._exit(carry_out(json.loads(line), run) if line else 70)


if __name__ == "__main__":
    main(sys.argv[1])
