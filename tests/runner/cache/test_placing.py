"""What was restored comes to its place whole, or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kedge_runner
from kedge_runner.cache.placing import put_in_place, take_back

PATHS = ["home/.npm", "repo/deep/out", "repo/merged"]


def fill(folder: Path) -> None:
    for path in PATHS:
        (folder / path).mkdir(parents=True)
        (folder / path / "file").write_text("restored")


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_move_that_fails_leaves_all_as_it_was(
    fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the home folder is a file system of its own, or the disk is full."""
    stage, workspace = tmp_path / "stage", tmp_path / "workspace"
    fill(stage)
    (workspace / "repo" / "merged").mkdir(parents=True)
    (workspace / "repo" / "merged" / "of the commit").touch()
    staged, before, calls = everything(stage), everything(workspace), []
    rename = os.rename

    def fail_once(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) == fails_at:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(OSError, match="cross-device"):
        put_in_place(str(stage), str(workspace), PATHS)

    assert everything(workspace) == before
    assert everything(stage) == staged


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from kedge_runner.cache.placing import put_in_place
left, call = int(sys.argv[4]), getattr(os, sys.argv[5])
def last(*given):
    global left
    left -= 1
    if left == 0 and sys.argv[6] == "before": os.kill(os.getpid(), signal.SIGKILL)
    call(*given)
    if left == 0: os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[5], last)
put_in_place(sys.argv[2], sys.argv[3], sys.argv[7:])
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("call", "number"), [("rename", 1), ("rename", 2), ("rename", 3), ("mkdir", 2)])
def test_what_a_killed_process_had_begun_is_taken_back(
    call: str, number: int, moment: str, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "repo" / "merged").mkdir(parents=True)
    (workspace / "repo" / "merged" / "of the commit").touch()
    before = everything(workspace)
    stage = workspace / ".restore-x"
    fill(stage)
    source = str(Path(kedge_runner.__file__).parent.parent)

    argv = [sys.executable, "-c", KILLED, source, str(stage), str(workspace), str(number), call, moment]
    assert subprocess.run([*argv, *PATHS], check=False).returncode == -signal.SIGKILL
    assert everything(workspace) != before

    take_back(str(workspace))
    assert everything(workspace) == before


def test_a_process_that_was_killed_before_or_after_placing_leaves_nothing_to_take_back(
    tmp_path: Path,
) -> None:
    workspace = tmp_path / "workspace"
    fill(workspace)
    before = everything(workspace)
    fill(workspace / ".restore-x")
    (workspace / ".restore-y").mkdir()
    (workspace / ".restore-y" / "steps").write_bytes(b"[null")

    take_back(str(workspace))

    assert everything(workspace) == before


def test_what_can_be_moved_is(tmp_path: Path) -> None:
    stage, workspace = tmp_path / "stage", tmp_path / "workspace"
    fill(stage)
    workspace.mkdir()

    assert put_in_place(str(stage), str(workspace), PATHS) == 0

    assert [(workspace / path / "file").read_text() for path in PATHS] == ["restored"] * 3
