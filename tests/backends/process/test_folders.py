"""Folders of attempts: whole or not at all, and gone when they are forgotten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kedge import AttemptName
from kedge_process.folders import Folders, Tenant, remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.process.conftest import Lab


def tenant(build_uuid: str = "b1") -> Tenant:
    return Tenant(compute_id="1-2-3", build_uuid=build_uuid, attempt=1, pid=1, start=2, boot="b")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "root")
    folders.open()
    return folders


def test_a_folder_tells_a_later_kedge_who_lives_there(folders: Folders) -> None:
    folders.make(tenant())
    assert Folders(folders.root).open() == [tenant()]


def test_what_was_half_made_or_half_removed_is_cleared(folders: Folders) -> None:
    for name in (".new-b1-1", ".old-b1-1-abc"):
        (folders.root / name / "work").mkdir(parents=True)
    assert folders.open() == []
    assert list(folders.root.iterdir()) == []


def test_what_is_not_of_kedge_is_left_alone(folders: Folders) -> None:
    (folders.root / "holiday" / "photos").mkdir(parents=True)
    (folders.root / "letter").touch()
    assert folders.open() == []
    assert {path.name for path in folders.root.iterdir()} == {"holiday", "letter"}


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps({**vars(tenant()), "pid": "1"}).encode(),
        json.dumps({**vars(tenant()), "start": None}).encode(),
        json.dumps({**vars(tenant()), "build_uuid": "another"}).encode(),
        json.dumps({**vars(tenant()), "more": 1}).encode(),
    ],
)
def test_a_damaged_note_is_no_tenant(folders: Folders, note: bytes) -> None:
    (folders.make(tenant()) / "attempt.json").write_bytes(note)
    assert folders.open() == []


def test_a_folder_of_a_forgotten_attempt_makes_room_for_a_new_one(folders: Folders) -> None:
    (folders.make(tenant()) / "work" / "old").touch()
    fresh = folders.make(tenant())
    assert list((fresh / "work").iterdir()) == []


def test_removing_twice_is_no_error(folders: Folders) -> None:
    folders.make(tenant())
    folders.remove(tenant().name)
    folders.remove(tenant().name)
    assert list(folders.root.iterdir()) == []


def test_kept_folders_go_aside_and_are_no_tenants(tmp_path: Path) -> None:
    folders = Folders(tmp_path, keep=True)
    for _ in range(2):
        (folders.make(tenant()) / "work" / "result").touch()
        folders.remove(tenant().name)
    assert folders.open() == []
    assert len(list(tmp_path.glob("kept/*/work/result"))) == 2


def test_locked_folders_and_odd_names_are_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deep = tree / "a" / "b\n\udcff" / "-rf"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (tree / "link").symlink_to(tmp_path)
    (tmp_path / "kept").touch()
    for folder in (deep, deep.parent, tree / "a", tree):
        folder.chmod(0)
    remove_tree(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "home", target_is_directory=True)
    remove_tree(tmp_path / "tree")
    assert (tmp_path / "home" / "precious").exists()


def test_attempts_of_builds_do_not_share_a_name() -> None:
    assert str(AttemptName.of("a", 11)) != str(AttemptName.of("a-1", 1))


async def test_forgetting_frees_the_workspace(lab: Lab) -> None:
    compute = await lab.open()
    status = await lab.run(["write", 1 << 20], ["exit", 0])
    await compute.forget(status.compute_id)
    assert list(lab.workspaces.iterdir()) == []


async def test_forgetting_what_runs_does_nothing(lab: Lab) -> None:
    compute = await lab.open()
    compute_id, runner = await lab.start(["wait"])
    await compute.forget(compute_id)
    assert lab.folder_of(runner).is_dir()
    assert [status.compute_id for status in await compute.list()] == [compute_id]
