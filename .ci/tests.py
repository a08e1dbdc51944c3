#!/usr/bin/env python3
"""Runs the whole suite; what fails is run once more, alone.

Two workers, several nodes, databases and container engines share a small machine here: a test that fails
in that crowd and passes alone has met a busy machine, or a race. Neither is a reason to throw away everything
else that was run, and neither is kept quiet: such tests are named in the last lines. What fails twice fails
the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", "-rfEs")
TOGETHER = ("-n", "auto", "--dist", "worksteal")
ALONE = ("-n", "0", "-p", "no:randomly", "--last-failed", "--last-failed-no-failures=none")
FAILED = Path(".pytest_cache/v/cache/lastfailed")
SOME_FAILED = 1
#: more than this is no accident, and would take too long
MOST = 10


def failed_tests() -> list[str]:
    """What failed in the run before."""
    return sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []


def main() -> int:
    """The exit code of pytest; 0 if everything passed, together or alone."""
    FAILED.unlink(missing_ok=True)
    # tests start Kedge a thousand times: it is to be compiled once
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    code = subprocess.run([*PYTEST, *TOGETHER, *sys.argv[1:]], check=False).returncode
    failed = failed_tests()
    if code != SOME_FAILED or not 0 < len(failed) <= MOST:
        return code
    print(f"\n== {len(failed)} failed; once more, alone:", *failed, sep="\n   ", flush=True)
    code = subprocess.run([*PYTEST, *ALONE, *sys.argv[1:]], check=False).returncode
    again = failed_tests()
    for name in failed:
        print("FAILED TWICE:" if name in again else "FAILED UNDER LOAD, PASSED ALONE:", name)
    return code


if __name__ == "__main__":
    sys.exit(main())
