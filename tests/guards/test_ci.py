"""A busy machine does not fail the run, and what is broken does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / ".ci/tests.py"
HURRIED = """
from pathlib import Path

def test_hurried():
    mark = Path("was here")
    if not mark.exists():
        mark.touch()
        raise AssertionError("too slow")

def test_calm():
    pass
"""
BROKEN = """
def test_broken():
    assert 1 + 1 == 3
"""


def run(folder: Path, test: str) -> tuple[int, str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(test)
    done = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout


def test_what_passes_alone_is_named_and_fails_nothing(tmp_path: Path) -> None:
    code, said = run(tmp_path, HURRIED)
    assert code == 0, said
    assert said.endswith("FAILED UNDER LOAD, PASSED ALONE: test_it.py::test_hurried\n")
    assert "AssertionError: too slow" in said


def test_what_fails_twice_fails_the_run(tmp_path: Path) -> None:
    code, said = run(tmp_path, HURRIED + BROKEN)
    assert code == 1, said
    assert "FAILED UNDER LOAD, PASSED ALONE: test_it.py::test_hurried\n" in said
    assert "FAILED TWICE: test_it.py::test_broken\n" in said
