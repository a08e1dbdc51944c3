"""What nodes tell each other may be lost, or the connection it comes by; it is done all the same, soon."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.core.node.test_workers_of_a_cluster import ask, deploy

from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.node import latest_build, wait_for_end, wait_for_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.testing.node import Repository, RunningNode

#: PostgreSQL's own function is found later than this one, which sends nothing
DEAF = """
CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT NULL::void';
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
END $$
"""
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
#: the sweeps come every second; the rest is for a machine that has much to do
SOON = 20.0


@contextmanager
def cluster_on(folder: Path, url: str) -> Iterator[Cluster]:
    cluster = Cluster(folder, url, names="ab")
    try:
        yield cluster
    finally:
        cluster.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < end, "it does not become so"
        time.sleep(0.05)


def project(node: RunningNode, build: str) -> str:
    made = create_worker(node.server, "app", build=build, deploy="", root="/", branch="main", previews=False)
    return str(made["triggers"][0]["trigger_uuid"])


def start(node: RunningNode, trigger: str) -> str:
    made: dict[str, Any] = node.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})
    return str(made["build_uuid"])


def instances(node: RunningNode, worker: str, name: str) -> list[dict[str, Any]]:
    """The instances of a worker on the node of that name."""
    found = node.server.get(f"/workers/workers/{worker}/instances")["instances"]
    return [one for one in found if one["node"] == name]


@pytest.fixture
def deaf_url(postgresql_url: str) -> str:
    """A database through which no node hears another."""
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(DEAF)
    return postgresql_url


@pytest.mark.timeout(180)
def test_every_wake_up_may_be_lost(tmp_path: Path, deaf_url: str, repository: Repository) -> None:
    with (
        psycopg.connect(deaf_url, autocommit=True) as ear,
        cluster_on(tmp_path, deaf_url) as cluster,
    ):
        ear.execute("LISTEN kedge")
        _builds_are_started_followed_and_cancelled(cluster, repository)
        _what_is_deployed_is_served_and_what_is_removed_ends(cluster, tmp_path / "worker")
        assert list(ear.notifies(timeout=0)) == []


def _builds_are_started_followed_and_cancelled(cluster: Cluster, repository: Repository) -> None:
    trigger = project(cluster["a"], "echo begun; sleep 600")
    pushing = threading.Thread(target=cluster["a"].push, args=(repository, "app"))
    pushing.start()
    wait_until(lambda: bool(cluster["b"].server.get("/builds", per_page=1)))
    builds = [str(latest_build(cluster["b"].server)["build_uuid"]), start(cluster["b"], trigger)]
    for build_uuid in builds:
        followers = [
            threading.Thread(target=wait_for_text, args=(cluster[name].server, build_uuid, "begun\n"))
            for name in "ab"
        ]
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join(SOON)
            assert not follower.is_alive(), "the log does not come"
    for build_uuid in builds:
        runs_on = cluster["a"].server.get(f"/builds/builds/{build_uuid}")["kedge"]["attempts"][-1]["node"]
        other = cluster["b" if runs_on == "a" else "a"]
        began = time.monotonic()
        other.server.put(f"/builds/builds/{build_uuid}/cancel")
        assert wait_for_end(other.server, build_uuid)["build_outcome"] == "cancelled"
        assert time.monotonic() - began < SOON
    pushing.join()


def _what_is_deployed_is_served_and_what_is_removed_ends(cluster: Cluster, folder: Path) -> None:
    cluster["a"].server.post("/workers/workers", {"name": "where"})
    deploy(cluster["a"], folder)
    assert ask(cluster["b"]).text == "one at b"
    [old] = instances(cluster["a"], "where", "b")

    deploy(cluster["a"], folder, version="two")
    wait_until(lambda: ask(cluster["b"]).text == "two at b")
    wait_until(lambda: old["id"] not in {one["id"] for one in instances(cluster["a"], "where", "b")})

    [last] = instances(cluster["a"], "where", "b")
    assert _listens(last["address"])
    cluster["a"].server.delete("/workers/workers/where")
    wait_until(lambda: not _listens(last["address"]))


def _listens(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


@pytest.mark.timeout(180)
def test_a_connection_that_listens_is_made_anew(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    with (
        cluster_on(tmp_path, postgresql_url) as cluster,
        psycopg.connect(postgresql_url, autocommit=True) as admin,
    ):

        def listeners() -> set[int]:
            return {pid for (pid,) in admin.execute(LISTENERS)}

        before = listeners()
        assert len(before) == 2
        for pid in before:
            admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        wait_until(lambda: len(listeners() - before) == 2)

        admin.execute("LISTEN kedge")
        trigger = project(cluster["a"], "echo built")
        assert cluster["a"].push(repository, "app").returncode == 0
        assert wait_for_end(cluster["b"].server, start(cluster["b"], trigger))["build_outcome"] == "success"
        assert list(admin.notifies(timeout=SOON, stop_after=1))
        # the names were given back and taken again
        config = (tmp_path / "a" / "kedge.toml").read_text()
        double = cluster.make("d")
        (tmp_path / "d" / "kedge.toml").write_text(config)
        with pytest.raises(RuntimeError, match='another node of this database is named "a"'):
            double.start()
