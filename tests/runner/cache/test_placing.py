"""What was restored comes to its place whole, or not at all."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from kedge_runner.cache.placing import put_in_place

if TYPE_CHECKING:
    from pathlib import Path

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


def test_what_can_be_moved_is(tmp_path: Path) -> None:
    stage, workspace = tmp_path / "stage", tmp_path / "workspace"
    fill(stage)
    workspace.mkdir()

    assert put_in_place(str(stage), str(workspace), PATHS) == 0

    assert [(workspace / path / "file").read_text() for path in PATHS] == ["restored"] * 3
