"""What goes wrong in a cluster: a server that goes, a node that sleeps, clocks that are off, all at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.node import latest_build, read_log, wait_for_end, wait_for_text
from kedge.testing.postgresql import server as own_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.testing.node import Repository, RunningNode

SOON = '[builds]\nstart_timeout = "8 s"\nsilence_timeout = "6 s"\n'
MINUTES_AHEAD = """
import time
real, real_ns = time.time, time.time_ns
time.time = lambda: real() + 300
time.time_ns = lambda: real_ns() + 300 * 10**9
"""
PATIENCE = 60.0


@contextmanager
def running(folder: Path, database: str, **more: Any) -> Iterator[Cluster]:
    cluster = Cluster(folder, database, more=SOON, **more)
    try:
        yield cluster
    finally:
        cluster.stop()


def worker(node: RunningNode, build: str) -> str:
    made = create_worker(node.server, "app", build=build, deploy="", root="/", branch="main", previews=False)
    return str(made["triggers"][0]["trigger_uuid"])


def push(node: RunningNode, repository: Repository) -> threading.Thread:
    thread = threading.Thread(target=node.push, args=(repository, "app"))
    thread.start()
    return thread


def newest(node: RunningNode) -> str:
    wait_until(lambda: bool(node.server.get("/builds", per_page=1)))
    return str(latest_build(node.server)["build_uuid"])


def get(node: RunningNode, build_uuid: str) -> dict[str, Any]:
    found: dict[str, Any] = node.server.get(f"/builds/builds/{build_uuid}")
    return found


def wait_until(is_so: Callable[[], bool], *, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < end, "it does not become so"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_that_restarts_in_the_middle_of_a_build_costs_no_line(
    tmp_path: Path, repository: Repository
) -> None:
    counting = "for i in $(seq 1 100); do echo line $i; sleep 0.05; done"
    with own_server(None) as server, server.database() as url, running(tmp_path, url, names="ab") as cluster:
        worker(cluster["a"], counting)
        pushing = push(cluster["a"], repository)
        build_uuid = newest(cluster["b"])
        wait_for_text(cluster["b"].server, build_uuid, "line 10\n")

        server.restart()

        # it answers once the database does
        pushing.join()
        end = wait_for_end(cluster["b"].server, build_uuid)
        lines = read_log(cluster["a"].server, build_uuid).splitlines()

    assert (end["build_outcome"], end["kedge"]["attempt"]) == ("success", 1)
    assert [line for line in lines if line.startswith("line ")] == [f"line {n}" for n in range(1, 101)]


def queue_builds(cluster: Cluster, trigger: str, builds: int) -> None:
    def build(number: int) -> None:
        node = cluster[sorted(cluster.nodes)[number % len(cluster.nodes)]]
        node.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(build, range(builds)))


def has_lines(file: Path, lines: int) -> bool:
    return len(file.read_text().splitlines()) >= lines


def none_is_left(node: RunningNode) -> bool:
    statuses = ("queued", "initializing", "running")
    return not any(node.server.get("/builds", status=status, per_page=1) for status in statuses)


@pytest.mark.timeout(300)
def test_a_server_that_restarts_under_many_builds_costs_no_line_and_no_build(
    tmp_path: Path, repository: Repository
) -> None:
    builds, lines, runs = 50, [f"line {n}" for n in range(1, 31)], tmp_path / "runs"
    command = f"echo x >> {runs}; for i in $(seq 1 30); do echo line $i; sleep 0.02; done"
    with own_server(None) as server, server.database() as url, running(tmp_path, url, names="ab") as cluster:
        trigger = worker(cluster["a"], command)
        assert cluster["a"].push(repository, "app").returncode == 0
        queue_builds(cluster, trigger, builds - 1)
        for begun in (10, 25):
            wait_until(partial(has_lines, runs, begun), patience=150)
            server.restart()
        wait_until(lambda: none_is_left(cluster["a"]), patience=200)
        ended = cluster["b"].server.get("/builds", per_page=200)
        attempts = [get(cluster["a"], build["build_uuid"])["kedge"]["attempts"] for build in ended]
        logs = [read_log(cluster["b"].server, build["build_uuid"]).splitlines() for build in ended]

    assert Counter(build["build_outcome"] for build in ended) == {"success": builds}
    assert {len(of_build) for of_build in attempts} == {1}
    assert {of_build[0]["node"] for of_build in attempts} == {"a", "b"}
    assert [[line for line in log if line.startswith("line ")] for log in logs] == [lines] * builds
    assert runs.read_text().splitlines() == ["x"] * builds


def test_a_node_that_slept_is_not_the_owner_of_its_builds_any_more(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    first = tmp_path / "first"
    command = f"test -e {first} || {{ echo $$ > {first}; echo asleep; exec sleep 600; }}; echo second"
    with running(tmp_path, postgresql_url) as cluster:
        worker(cluster["a"], command)
        pushing = push(cluster["a"], repository)
        build_uuid = newest(cluster["b"])
        wait_for_text(cluster["b"].server, build_uuid, "asleep\n")
        sleeper = get(cluster["b"], build_uuid)["kedge"]["attempts"][0]["node"]
        other = next(name for name in "abc" if name != sleeper)

        os.kill(cluster[sleeper].pid, signal.SIGSTOP)
        try:
            end = wait_for_end(cluster[other].server, build_uuid)
        finally:
            os.kill(cluster[sleeper].pid, signal.SIGCONT)
        pushing.join()

        assert (end["build_outcome"], end["kedge"]["attempt"]) == ("success", 2)
        # it stops what it runs for nobody
        wait_until(lambda: not _runs(int(first.read_text())))
        again = get(cluster[sleeper], build_uuid)
        assert (again["build_outcome"], again["kedge"]["attempt"]) == ("success", 2)
        assert "second" in read_log(cluster[sleeper].server, build_uuid)


def test_nodes_go_by_the_clock_of_the_database(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    (tmp_path / "ahead").mkdir()
    (tmp_path / "ahead" / "sitecustomize.py").write_text(MINUTES_AHEAD)
    with running(tmp_path, postgresql_url, names="ab") as cluster:
        fast = cluster.make("fast")
        fast.environment["PYTHONPATH"] = str(tmp_path / "ahead")
        cluster.nodes["fast"] = fast.start()
        trigger = worker(cluster["a"], "echo begun; sleep 3")
        began = datetime.now(UTC)

        assert fast.push(repository, "app").returncode == 0
        cluster["a"].server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})
        builds = cluster["b"].server.get("/builds")
        ends = [wait_for_end(cluster["b"].server, build["build_uuid"]) for build in builds]

        assert [(end["build_outcome"], end["kedge"]["attempt"]) for end in ends] == [("success", 1)] * 2
        assert all(
            abs(datetime.fromisoformat(end["created_on"]) - began) < timedelta(minutes=1) for end in ends
        )
        assert "this machine's clock is not the database's" in fast.said()


def test_two_nodes_start_each_of_many_builds_once(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    builds, runs = 200, tmp_path / "runs"
    with running(tmp_path, postgresql_url, names="ab") as cluster:
        trigger = worker(cluster["a"], f"echo x >> {runs}")
        assert cluster["a"].push(repository, "app").returncode == 0

        queue_builds(cluster, trigger, builds - 1)
        wait_until(lambda: none_is_left(cluster["a"]))
        ended = cluster["b"].server.get("/builds", per_page=200)
        attempts = [get(cluster["a"], build["build_uuid"])["kedge"]["attempts"] for build in ended]

    assert Counter(build["build_outcome"] for build in ended) == {"success": builds}
    assert {len(of_build) for of_build in attempts} == {1}
    assert {of_build[0]["node"] for of_build in attempts} == {"a", "b"}
    assert runs.read_text().splitlines() == ["x"] * builds
