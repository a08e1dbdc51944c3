from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from kedge.cli.workers import create_worker
from kedge.client import ClientError
from kedge.testing.node import read_log, wait_for_end, wait_for_text

if TYPE_CHECKING:
    from kedge.testing.node import Repository, RunningNode


def make(node: RunningNode, repository: Repository, build: str) -> str:
    """A worker whose repository holds a commit; return its trigger."""
    worker = create_worker(
        node.server, "app", build="true", deploy="", root="/", branch="main", previews=True
    )
    uuid = str(worker["triggers"][0]["trigger_uuid"])
    node.push(repository, "app")
    node.server.patch(f"/builds/triggers/{uuid}", {"build_command": build})
    return uuid


def start(node: RunningNode, trigger: str) -> dict[str, Any]:
    build: dict[str, Any] = node.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})
    return build


def wait_until_only(node: RunningNode, build_uuid: str, reason: str) -> None:
    """Wait until nothing but this build waits, and it says why."""
    gives_up = time.monotonic() + 60
    while True:
        queue = node.server.get("/builds/queue")
        if [one["build_uuid"] for one in queue] == [build_uuid] and reason in (queue[0]["reason"] or ""):
            return
        assert time.monotonic() < gives_up, queue
        time.sleep(0.02)


def test_a_running_build_is_cancelled_with_its_whole_tree(node: RunningNode, repository: Repository) -> None:
    build = start(node, make(node, repository, "echo here; sleep 300"))
    uuid = build["build_uuid"]
    wait_for_text(node.server, uuid, "here\n")

    result = node.server.put(f"/builds/builds/{uuid}/cancel")

    assert result["build_outcome"] == "cancelled"
    assert result["stopped_on"]
    assert "Cancelled." in read_log(node.server, uuid)


def test_a_waiting_build_is_cancelled_before_it_runs(node: RunningNode, repository: Repository) -> None:
    trigger = make(node, repository, "sleep 300")
    running = [start(node, trigger)["build_uuid"] for _ in range(6)]
    waiting = start(node, trigger)["build_uuid"]

    wait_until_only(node, waiting, "6 of 6 builds")
    result = node.server.put(f"/builds/builds/{waiting}/cancel")

    assert result["build_outcome"] == "cancelled"
    threads = [
        threading.Thread(target=node.server.put, args=(f"/builds/builds/{uuid}/cancel",)) for uuid in running
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_cancel_right_after_the_start_holds(node: RunningNode, repository: Repository) -> None:
    trigger = make(node, repository, "sleep 300")
    for delay in (0, 0.005, 0.02, 0.05):
        uuid = start(node, trigger)["build_uuid"]
        time.sleep(delay)
        node.server.put(f"/builds/builds/{uuid}/cancel")
        assert wait_for_end(node.server, uuid)["build_outcome"] == "cancelled"


def test_a_stopped_build_is_retried_as_its_next_attempt_with_the_settings_of_now(
    node: RunningNode, repository: Repository
) -> None:
    trigger = make(node, repository, "exit 3")
    uuid = start(node, trigger)["build_uuid"]
    assert wait_for_end(node.server, uuid)["build_outcome"] == "fail"
    node.server.patch(f"/builds/triggers/{trigger}", {"build_command": "echo mended"})

    node.server.put(f"/builds/builds/{uuid}/retry")
    build = wait_for_end(node.server, uuid)

    assert build["build_outcome"] == "success"
    assert build["kedge"]["attempt"] == 2
    assert "mended" in read_log(node.server, uuid)


def test_what_cannot_be_done_is_refused_in_words(node: RunningNode, repository: Repository) -> None:
    trigger = make(node, repository, "true")
    uuid = start(node, trigger)["build_uuid"]
    wait_for_end(node.server, uuid)

    with pytest.raises(ClientError, match="has stopped already"):
        node.server.put(f"/builds/builds/{uuid}/cancel")
    with pytest.raises(ClientError, match="gone"):
        node.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "gone"})
    with pytest.raises(ClientError, match="there is no build"):
        node.server.get("/builds/builds/00000000-0000-0000-0000-000000000000")


def test_a_newer_push_supersedes_one_that_waits(node: RunningNode, repository: Repository) -> None:
    trigger = make(node, repository, "sleep 300")
    running = [start(node, trigger)["build_uuid"] for _ in range(6)]
    threads = []
    for number in (1, 2):
        repository.commit({"n": str(number)})
        threads.append(threading.Thread(target=node.push, args=(repository, "app")))
        threads[-1].start()
        while len(node.server.get("/builds", per_page=50)) < 7 + number:
            time.sleep(0.02)

    builds = node.server.get("/builds", per_page=2)

    assert [build["build_outcome"] for build in builds] == [None, "skipped"]
    assert "Superseded by" in builds[1]["kedge"]["message"]
    for uuid in [*running, builds[0]["build_uuid"]]:
        node.server.put(f"/builds/builds/{uuid}/cancel")
    for thread in threads:
        thread.join()


def test_another_branch_gets_a_preview(node: RunningNode, repository: Repository) -> None:
    worker = create_worker(
        node.server,
        "site",
        build="mkdir -p dist; echo $KEDGE_CI_BRANCH > dist/index.html",
        deploy="kedge deploy dist",
        root="/",
        branch="main",
        previews=True,
    )
    assert len(worker["triggers"]) == 2

    pushed = node.push(repository, "site", "main:refs/heads/feature/New_Page")

    assert "feature-new-page-site.localhost" in pushed.stderr
