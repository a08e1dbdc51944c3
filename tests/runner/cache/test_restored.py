"""A restored tree that a build left alone is known without being read; a changed one never is."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from tests.runner.cache.archives import archive, member, unpack_into

from kedge_runner.cache.placing import put_in_place
from kedge_runner.cache.restored import Restored, moment_of, note, recall
from kedge_runner.cache.tree import Tree
from kedge_runner.cache.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNIT = Unit("out", ["repo/out"], key="out", excludes=["repo/out/logs"])
FILES = {"a": b"one", "b": b"two", "deep/c": b"three"}
HIT = {"key": "out", "fingerprint": "f" * 64, "file_count": 3, "tree_bytes": sum(map(len, FILES.values()))}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """One with a restored tree, and beside it a folder that was there before."""
    (tmp_path / "repo").mkdir()
    other = tmp_path / "repo" / "other"
    other.mkdir()
    (other / "c").write_bytes(b"THREE")
    stage = tmp_path / "stage"
    stage.mkdir()
    folders = [(member(f"repo/out{name}", b"5", mode=0o755), b"") for name in ("", "/deep")]
    files = [(member(f"repo/out/{name}"), content) for name, content in FILES.items()]
    made = unpack_into(archive([*folders, *files]), stage, UNIT.paths)
    assert put_in_place(str(stage), str(tmp_path), UNIT.paths) == 0
    note(str(tmp_path), UNIT, HIT, made.folders, moment_of(str(stage)))
    return tmp_path


def looked_at(workspace: Path) -> Tree:
    tree = Tree(str(workspace), UNIT)
    assert list(tree.walk())
    return tree


def restored(workspace: Path) -> Restored:
    found = recall(str(workspace), UNIT)
    assert found is not None
    return found


def untouched(workspace: Path) -> bool:
    return restored(workspace).untouched(looked_at(workspace))


def rewrite(out: Path) -> None:
    """The same size and times, written in place."""
    there = (out / "a").stat()
    (out / "a").write_bytes(b"ONE")
    os.utime(out / "a", ns=(there.st_atime_ns, there.st_mtime_ns))


def replace_folder(out: Path) -> None:
    """By one that was there before, with files that nobody has touched since."""
    shutil.rmtree(out / "deep")
    (out.parent / "other").rename(out / "deep")


def replace_file(out: Path) -> None:
    (out.parent / "other" / "c").replace(out / "deep" / "c")


def link_file(out: Path) -> None:
    (out / "a").unlink()
    (out / "a").hardlink_to(out.parent / "other" / "c")


CHANGES: dict[str, Callable[[Path], object]] = {
    "the same size and times": rewrite,
    "a folder of before": replace_folder,
    "a file of before": replace_file,
    "a hard link to a file of before": link_file,
    "rights of a file": lambda out: (out / "a").chmod(0o600),
    "rights of a folder": lambda out: (out / "deep").chmod(0o700),
    "a file more": lambda out: (out / "new").touch(),
    "a file less": lambda out: (out / "a").unlink(),
    "a folder more": lambda out: (out / "new").mkdir(),
    "a link more": lambda out: (out / "new").symlink_to("a"),
    "two that change places": lambda out: [
        (out / one).rename(out / other) for one, other in (("a", "x"), ("b", "a"), ("x", "b"))
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_a_restored_tree_is_seen(change: str, workspace: Path) -> None:
    assert untouched(workspace)

    CHANGES[change](workspace / "repo" / "out")

    assert not untouched(workspace)


def test_reading_it_and_what_is_left_out_leave_it_untouched(workspace: Path) -> None:
    out = workspace / "repo" / "out"
    (out / "logs").mkdir()
    (out / "logs" / "today").write_text("left out")
    (out / "a").read_bytes()

    assert untouched(workspace)


def test_a_change_in_the_very_moment_after_is_seen(workspace: Path) -> None:
    """Clocks of file systems stand still for milliseconds: the moment is only told once it has passed."""
    out = workspace / "repo" / "out"
    for number in range(20):
        moment = moment_of(str(_fresh(workspace, number)))
        (out / "a").write_bytes(b"ONE")

        assert (out / "a").stat().st_ctime_ns > moment


def _fresh(workspace: Path, number: int) -> Path:
    folder = workspace / f"fresh-{number}"
    folder.mkdir()
    return folder


def test_a_clock_that_was_set_back_proves_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge_runner.cache.restored.time.time", lambda now=time.time: now() - 5)

    assert not untouched(workspace)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 100_000, b'{"clocks": [1]}', b"\xff"])
def test_a_note_that_a_build_has_spoilt_is_none(damage: bytes, workspace: Path) -> None:
    (workspace / ".restored-out").write_bytes(damage)

    assert recall(str(workspace), UNIT) is None


def test_only_what_may_be_the_same_is_worth_reading(workspace: Path) -> None:
    assert restored(workspace).alike(looked_at(workspace))

    (workspace / "repo" / "out" / "a").write_bytes(b"longer")

    assert not restored(workspace).alike(looked_at(workspace))


LOCKED = Unit("out", ["repo/out"], key="out", locked=True)


def test_downloads_of_a_lockfile_suffice_until_there_are_more(workspace: Path) -> None:
    """npm writes the times of its requests into its index, every time."""
    (workspace / "repo" / "out" / "a").write_bytes(b"another index")
    assert restored(workspace).suffices(looked_at(workspace), LOCKED)
    assert not restored(workspace).suffices(looked_at(workspace), UNIT)
    other_key = Unit("out", ["repo/out"], key="other", locked=True)
    assert not restored(workspace).suffices(looked_at(workspace), other_key)

    (workspace / "repo" / "out" / "new").touch()
    assert not restored(workspace).suffices(looked_at(workspace), LOCKED)
