"""A deployment is one for all nodes: each splits traffic alike, and one that dies leaves it to another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.core.node.test_workers_of_a_cluster import PROGRAM, TOML, ask, deploy

from kedge.testing.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.testing.node import RunningNode

WAITS = """
import os, time
while not os.path.exists({gate!r}): time.sleep(0.05)
"""
DEPLOYMENTS = "/workers/workers/where/deployments"
KEYS = 100
PATIENCE = 60.0


@contextmanager
def cluster_on(folder: Path, url: str) -> Iterator[Cluster]:
    cluster = Cluster(folder, url, names="ab")
    try:
        cluster["a"].server.post("/workers/workers", {"name": "where"})
        yield cluster
    finally:
        cluster.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it does not become so"
        time.sleep(0.1)


def deployments(node: RunningNode) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.server.get(DEPLOYMENTS)["deployments"]
    return found


def begin_to_deploy(node: RunningNode, folder: Path, gate: Path) -> subprocess.Popen[bytes]:
    """Deploy what does not answer before `gate` is there; do not wait for it."""
    folder.mkdir()
    (folder / "server.py").write_text(WAITS.format(gate=str(gate)) + PROGRAM.replace("VERSION", "two"))
    (folder / "kedge.toml").write_text(TOML)
    where = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": "where"}
    return subprocess.Popen(
        [sys.executable, "-m", "kedge", "deploy", "."],
        cwd=folder,
        env=os.environ | where,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.timeout(240)
def test_a_deployment_whose_node_is_killed_is_finished_by_another(
    tmp_path: Path, postgresql_url: str
) -> None:
    gate = tmp_path / "gate"
    with cluster_on(tmp_path, postgresql_url) as cluster:
        deploy(cluster["a"], tmp_path / "one")
        deploying = begin_to_deploy(cluster["a"], tmp_path / "two", gate)
        wait_until(lambda: deployments(cluster["b"])[0]["kedge"]["state"] == "starting")
        assert ask(cluster["b"]).text == "one at b"

        cluster["a"].kill()
        gate.touch()
        deploying.kill()
        deploying.wait(PATIENCE)

        wait_until(lambda: ask(cluster["b"]).text == "two at b")
        states = [one["kedge"]["state"] for one in deployments(cluster["b"])]
        assert states == ["active", "active"]


@pytest.mark.timeout(240)
def test_a_key_gets_the_same_version_on_every_node(tmp_path: Path, postgresql_url: str) -> None:
    with cluster_on(tmp_path, postgresql_url) as cluster:
        versions = []
        for text in ("one", "two"):
            deploy(cluster["a"], tmp_path / text, version=text)
            versions.append(deployments(cluster["a"])[0]["versions"][0]["version_id"])
        split = [
            {"version_id": one, "percentage": share} for one, share in zip(versions, (70, 30), strict=True)
        ]
        made = cluster["b"].server.post(DEPLOYMENTS, {"strategy": "percentage", "versions": split})
        wait_until(
            lambda: cluster["a"].server.get(f"{DEPLOYMENTS}/{made['id']}")["kedge"]["state"] == "active"
        )
        wait_until(lambda: {word(cluster["a"], str(key)) for key in range(20)} == {"one", "two"})

        answers = [[word(cluster[name], str(key)) for key in range(KEYS)] for name in "ab"]

        assert answers[0] == answers[1]
        assert abs(answers[0].count("two") - 30) <= 10


def word(node: RunningNode, key: str) -> str:
    """Which version answers for a key."""
    headers = {"Host": "where.localhost", "Cloudflare-Workers-Version-Key": key}
    return httpx.get(node.server.url, headers=headers, trust_env=False, timeout=30).text.split()[0]
