"""What a node keeps is for its own user alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.core.node.command_line import kedge

from kedge.errors import ConfigError
from kedge.node.data_dir import OTHERS, hold
from kedge.testing.node import RunningNode, latest_build

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import Repository


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_data_dir_is_closed_to_others(tmp_path: Path) -> None:
    with hold(tmp_path / "data"):
        assert rights(tmp_path / "data") == 0o700


def test_a_data_dir_that_an_earlier_kedge_left_open_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "git").mkdir()
    (tmp_path / "node.lock").touch()
    with hold(tmp_path):
        assert rights(tmp_path) == 0o700


def test_a_folder_that_was_made_for_the_node_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "kedge.toml").touch()
    with hold(tmp_path):
        assert rights(tmp_path) == 0o700


def test_a_folder_that_serves_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=f"run `chmod 700 {re.escape(str(tmp_path))}`"), hold(tmp_path):
        pass
    assert rights(tmp_path) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["lib"]


@pytest.mark.parametrize("name", ["file", "file/below", "proc/x"])
def test_what_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "proc").symlink_to("/proc")
    refused = f"server.data_dir: {tmp_path / name} is no folder that Kedge can write to: "
    with pytest.raises(ConfigError, match=re.escape(refused)), hold(tmp_path / name):
        pass


def test_others_could_read_nothing_even_if_they_came_in_and_builds_have_a_usual_umask(
    node: RunningNode, repository: Repository
) -> None:
    kedge(node, "worker", "create", "app", "--build", "umask; mkdir out; touch out/page.html; stat -c %a out")
    node.push(repository, "app")
    lines = kedge(node, "builds", "logs", latest_build(node.server)["build_uuid"]).splitlines()

    data = node.data_dir
    # what git runs, and what stands in folders that are closed
    open_ = {
        str(path.relative_to(data))
        for path in data.rglob("*")
        if rights(path) & OTHERS and not path.is_symlink()
    }
    closed = {name for name in open_ if any(rights(data / one) & OTHERS == 0 for one in parents(name))}
    assert "0022" in lines
    assert "755" in lines
    assert open_ - closed == set()


def parents(name: str) -> list[str]:
    """The folders of the data dir that a path lies in."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
