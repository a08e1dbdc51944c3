"""Repositories in a folder that nodes share: what one takes in another gives out, and none is lost."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.node import Repository, wait_for_end

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import RunningNode

ROUNDS = 4


def push(node: RunningNode, repository: Repository, refs: str) -> bool:
    """Whether an ordinary push, which takes nothing away, went through."""
    done = subprocess.run(
        ["git", "push", node.push_url("app"), refs],
        cwd=repository.folder,
        env=Repository.environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0


def clone(node: RunningNode, folder: Path) -> Repository:
    environment = Repository.environment()
    subprocess.run(["git", "clone", "-q", node.push_url("app"), folder], env=environment, check=True)
    return Repository(folder)


@pytest.mark.timeout(180)
def test_nodes_give_out_what_others_took_in_and_of_two_pushes_at_once_lose_none(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    cluster = Cluster(tmp_path, postgresql_url, names="ab")
    try:
        create_worker(
            cluster["a"].server, "app", build="true", deploy="", root="/", branch="main", previews=True
        )
        assert push(cluster["a"], repository, "main")
        mine, theirs = repository, clone(cluster["b"], tmp_path / "theirs")
        assert (theirs.folder / "readme.txt").read_text() == "hello"

        accepted = {mine.git("rev-parse", "HEAD").strip()}
        for number in range(ROUNDS):
            accepted |= _race(cluster, mine, theirs, number)

        again = clone(cluster["a"], tmp_path / "again")
        assert accepted <= set(again.git("rev-list", "--all").split())
        bare = next((tmp_path / "repos").rglob("app.git"))
        subprocess.run(["git", "-C", bare, "fsck", "--strict"], check=True, capture_output=True)
        builds = cluster["b"].server.get("/builds", per_page=100)
        assert {build["build_trigger_metadata"]["commit_hash"] for build in builds} == accepted
        ends = [wait_for_end(cluster["a"].server, build["build_uuid"]) for build in builds]
        assert {end["build_outcome"] for end in ends} == {"success"}
    finally:
        cluster.stop()


def _race(cluster: Cluster, mine: Repository, theirs: Repository, number: int) -> set[str]:
    """Both push to `main` through different nodes, and each a branch of its own; return what was taken."""
    commits = [one.commit({f"{name}.txt": str(number)}) for name, one in (("mine", mine), ("theirs", theirs))]
    pushes = [(cluster["a"], mine, "main"), (cluster["b"], theirs, "main")]
    pushes += [(cluster["b"], mine, f"main:mine-{number}"), (cluster["a"], theirs, f"main:theirs-{number}")]
    with ThreadPoolExecutor(4) as pool:
        went = list(pool.map(lambda one: push(*one), pushes))
    assert went[2:] == [True, True]
    assert sum(went[:2]) == 1
    for one in (mine, theirs):
        one.git("fetch", "-q", cluster["a"].push_url("app"), "main")
        one.git("reset", "-q", "--hard", "FETCH_HEAD")
    return set(commits)
