"""Builds run at the location that suits them, whichever node they are pushed to."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.node import wait_for_end, wait_for_text

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import Repository, RunningNode

PLACES = """
[placement]
chain = ["fairness", "load", "cache", "capacity"]
[placement.load]
refuse_above = 1000
[placement.capacity.locations]
a = 0
b = 1
"""


def build_of(node: RunningNode, build_uuid: str) -> dict[str, Any]:
    found: dict[str, Any] = node.server.get(f"/builds/builds/{build_uuid}")["kedge"]
    return found


def reason_of(node: RunningNode, build_uuid: str, wanted: str) -> str:
    """Why a build waits, once that is what is wanted; the round that notes it may be yet to come."""
    found = ""
    while wanted not in found:
        time.sleep(0.01)
        wait = build_of(node, build_uuid)["wait"]
        assert wait is not None, "it does not wait any more"
        found = wait["reason"] or ""
    return found


def test_a_build_waits_for_the_place_that_takes_it_and_says_why(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    cluster = Cluster(tmp_path, postgresql_url, names=("a", "b"), more=PLACES)
    a, b = cluster["a"], cluster["b"]
    go = tmp_path / "go"
    build = f"echo begun; until [ -e {go} ]; do sleep 0.05; done"
    create_worker(a.server, "app", build=build, deploy="", root="/", branch="main", previews=False)
    pushing = threading.Thread(target=a.push, args=(repository, "app"))
    pushing.start()
    try:
        while not (builds := a.server.get("/builds", per_page=1)):
            time.sleep(0.01)
        first = builds[0]["build_uuid"]
        wait_for_text(b.server, first, "begun\n")
        attempt = build_of(a, first)["attempts"][-1]
        assert (attempt["node"], attempt["location"]) == ("b", "b")

        trigger = a.server.get(f"/builds/builds/{first}")["trigger"]["trigger_uuid"]
        second = a.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})["build_uuid"]
        reason = reason_of(a, second, "1 of 1")
        assert reason == "a: 0 of 0 builds run; b: 1 of 1 builds run"
        go.touch()
        assert wait_for_end(a.server, first)["build_outcome"] == "success"
        assert wait_for_end(a.server, second)["build_outcome"] == "success"
        assert build_of(a, second)["attempts"][-1]["location"] == "b"
    finally:
        go.touch()
        pushing.join()
        cluster.stop()
