"""Three nodes on one PostgreSQL: any of them answers, and one that is killed is done without."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.node import latest_build, read_log, wait_for_end, wait_for_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.testing.node import Repository, RunningNode

COUNTING = "for i in $(seq 1 60); do echo line $i; sleep 0.05; done"
LINES = [f"line {number}" for number in range(1, 61)]
SOON = '[builds]\nstart_timeout = "8 s"\nsilence_timeout = "6 s"\n'


@pytest.fixture
def cluster(tmp_path: Path, postgresql_url: str) -> Iterator[Cluster]:
    made = Cluster(tmp_path, postgresql_url, more=SOON)
    yield made
    made.stop()


def worker(node: RunningNode, build: str, name: str = "app") -> None:
    create_worker(node.server, name, build=build, deploy="", root="/", branch="main", previews=False)


def push(node: RunningNode, repository: Repository, name: str = "app") -> threading.Thread:
    thread = threading.Thread(target=node.push, args=(repository, name))
    thread.start()
    return thread


def newest(node: RunningNode) -> str:
    while not node.server.get("/builds", per_page=1):
        time.sleep(0.01)
    return str(latest_build(node.server)["build_uuid"])


def counted(node: RunningNode, build_uuid: str) -> list[str]:
    return [line for line in read_log(node.server, build_uuid).splitlines() if line.startswith("line ")]


def get(node: RunningNode, build_uuid: str) -> dict[str, Any]:
    found: dict[str, Any] = node.server.get(f"/builds/builds/{build_uuid}")
    return found


def test_what_is_pushed_to_one_node_is_followed_at_another_and_read_at_a_third(
    cluster: Cluster, repository: Repository
) -> None:
    worker(cluster["a"], COUNTING)
    pushing = push(cluster["b"], repository)
    build_uuid = newest(cluster["c"])

    wait_for_text(cluster["a"].server, build_uuid, "line 3\n")
    wait_for_text(cluster["c"].server, build_uuid, "line 3\n")
    ends = [wait_for_end(cluster[name].server, build_uuid) for name in "abc"]
    pushing.join()

    assert {end["build_outcome"] for end in ends} == {"success"}
    assert [counted(cluster[name], build_uuid) for name in "abc"] == [LINES] * 3


def test_a_build_is_cancelled_at_a_node_that_does_not_run_it(
    cluster: Cluster, repository: Repository
) -> None:
    worker(cluster["a"], "echo begun; sleep 600")
    pushing = push(cluster["a"], repository)
    build_uuid = newest(cluster["b"])
    wait_for_text(cluster["b"].server, build_uuid, "begun\n")

    runs_on = get(cluster["b"], build_uuid)["kedge"]["attempts"][-1]["node"]
    other = next(name for name in "abc" if name != runs_on)
    cluster[other].server.put(f"/builds/builds/{build_uuid}/cancel")

    assert wait_for_end(cluster["c"].server, build_uuid)["build_outcome"] == "cancelled"
    pushing.join()


def test_a_killed_nodes_build_is_done_by_another(cluster: Cluster, repository: Repository) -> None:
    worker(cluster["a"], COUNTING)
    pushing = push(cluster["a"], repository)
    build_uuid = newest(cluster["b"])
    wait_for_text(cluster["b"].server, build_uuid, "line 3\n")
    killed = get(cluster["b"], build_uuid)["kedge"]["attempts"][-1]["node"]
    others = [name for name in "abc" if name != killed]

    cluster[killed].kill()
    end = wait_for_end(cluster[others[0]].server, build_uuid)
    pushing.join()

    assert end["build_outcome"] == "success"
    assert end["kedge"]["attempt"] == 2
    assert counted(cluster[others[1]], build_uuid) == LINES


def test_a_node_without_the_key_of_the_others_does_not_start(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("cWWcTfQcF0xG6Pk2FbSxcXZcnFkqsmCeu8OqTIhRuBE=")
    with pytest.raises(RuntimeError, match="is not the one of the other nodes"):
        cluster.make("d").start()


def test_a_node_with_the_name_of_another_does_not_start(cluster: Cluster, tmp_path: Path) -> None:
    config = (tmp_path / "a" / "kedge.toml").read_text()
    made = cluster.make("d")
    (tmp_path / "d" / "kedge.toml").write_text(config)
    with pytest.raises(RuntimeError, match='another node of this database is named "a"'):
        made.start()
