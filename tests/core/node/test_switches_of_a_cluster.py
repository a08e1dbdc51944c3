"""A version gets traffic once it answers on every node that gets some."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.core.node.test_workers_of_a_cluster import PROGRAM, SOON, TOML

from kedge.testing.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.testing.node import RunningNode

#: for which a new instance answers nobody
START_SECONDS = 8.0
SLOW = f"import time; time.sleep({START_SECONDS})\n{PROGRAM}"
NOT_AT_B = f"""
import os, sys
if os.environ["KEDGE_LOCATION"] == "b": sys.exit("b is no place for it")
{PROGRAM}"""
PATIENCE = 60.0


@pytest.fixture
def cluster(tmp_path: Path, postgresql_url: str) -> Iterator[Cluster]:
    made = Cluster(tmp_path, postgresql_url, more=SOON)
    made["a"].server.post("/workers/workers", {"name": "where"})
    yield made
    made.stop()


def deploy(node: RunningNode, folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / "server.py").write_text(program)
    (folder / "kedge.toml").write_text(TOML)
    where = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": "where"}
    return subprocess.run(
        [sys.executable, "-m", "kedge", "deploy", "."],
        cwd=folder,
        env=os.environ | where,
        check=False,
        capture_output=True,
        text=True,
    )


class Visitor(threading.Thread):
    """Asks one node again and again until it has seen a version, and notes the longest wait."""

    def __init__(self, node: RunningNode, awaited: str) -> None:
        super().__init__()
        self._url = node.server.url
        self._awaited = awaited
        self.longest = 0.0
        self.seen: set[str] = set()

    def run(self) -> None:
        end = time.monotonic() + PATIENCE
        with httpx.Client(trust_env=False, timeout=PATIENCE, headers={"Host": "where.localhost"}) as client:
            while self._awaited not in self.seen and time.monotonic() < end:
                began = time.monotonic()
                answer = client.get(self._url)
                self.longest = max(self.longest, time.monotonic() - began)
                self.seen.add(f"{answer.status_code} {answer.text.partition(' ')[0]}")


def ask(node: RunningNode) -> str:
    headers = {"Host": "where.localhost"}
    return httpx.get(node.server.url, headers=headers, trust_env=False, timeout=PATIENCE).text


def test_no_visitor_of_any_node_waits_for_a_start_because_of_a_deployment(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert deploy(cluster["a"], tmp_path / "one", SLOW.replace("VERSION", "one")).returncode == 0
    assert [ask(cluster[name]) for name in "abc"] == ["one at a", "one at b", "one at c"]
    visitors = [Visitor(cluster[name], "200 two") for name in "abc"]
    for visitor in visitors:
        visitor.start()

    deployed = deploy(cluster["a"], tmp_path / "two", SLOW.replace("VERSION", "two"))
    for visitor in visitors:
        visitor.join()

    assert deployed.returncode == 0, deployed.stderr
    assert [visitor.seen for visitor in visitors] == [{"200 one", "200 two"}] * 3
    assert max(visitor.longest for visitor in visitors) < START_SECONDS


def test_a_version_that_does_not_start_on_one_node_gets_no_traffic_on_any(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert deploy(cluster["a"], tmp_path / "one", PROGRAM.replace("VERSION", "one")).returncode == 0
    assert [ask(cluster[name]) for name in "abc"] == ["one at a", "one at b", "one at c"]

    deployed = deploy(cluster["a"], tmp_path / "two", NOT_AT_B.replace("VERSION", "two"))

    assert deployed.returncode != 0
    assert "at node b an instance of where exited with code 1" in deployed.stderr
    assert "b is no place for it" in deployed.stderr
    assert [ask(cluster[name]) for name in "abc"] == ["one at a", "one at b", "one at c"]


def test_a_node_that_runs_none_of_a_worker_starts_none_for_a_deployment(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert deploy(cluster["a"], tmp_path / "one", PROGRAM.replace("VERSION", "one")).returncode == 0
    assert deploy(cluster["a"], tmp_path / "two", PROGRAM.replace("VERSION", "two")).returncode == 0
    found = cluster["b"].server.get("/workers/workers/where/instances")
    assert (sorted(found["nodes"]), found["failures"]) == (["a", "b", "c"], {})
    # each was done by one node, not always the one that was asked: the nearest to the database
    assert len({one["node"] for one in found["instances"]}) <= 2
