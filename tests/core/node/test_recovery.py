"""A node is killed at any point of a build, and nothing is lost, doubled or stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import (
    Repository,
    RunningNode,
    latest_build,
    read_log,
    wait_for_end,
    wait_for_text,
)

#: goes on only once it is told to
COUNTING = """
for i in $(seq 1 20); do echo line $i; sleep 0.02; done
touch {on}
until test -e {go}; do sleep 0.02; done
for i in $(seq 21 40); do echo line $i; sleep 0.02; done
"""


def worker(node: RunningNode, build: str) -> None:
    create_worker(node.server, "app", build=build, deploy="", root="/", branch="main", previews=False)


def push_in_background(node: RunningNode, repository: Repository) -> threading.Thread:
    def push() -> None:
        node.push(repository, "app")

    thread = threading.Thread(target=push)
    thread.start()
    return thread


def wait_for_line(node: RunningNode, text: str) -> str:
    """Follow the newest build until its log holds `text`; return its uuid."""
    while not node.server.get("/builds", per_page=1):
        time.sleep(0.01)
    build_uuid = str(latest_build(node.server)["build_uuid"])
    wait_for_text(node.server, build_uuid, text)
    return build_uuid


def test_a_running_build_is_adopted_and_no_line_is_lost_or_doubled(
    node: RunningNode, repository: Repository, tmp_path: Path
) -> None:
    on, go = tmp_path / "on", tmp_path / "go"
    worker(node, COUNTING.format(on=on, go=go))
    push = push_in_background(node, repository)
    build_uuid = wait_for_line(node, "line 3\n")

    node.kill()
    push.join()
    while not on.exists():  # the build prints on while nobody listens
        time.sleep(0.01)
    node.start()
    go.touch()

    build = wait_for_end(node.server, build_uuid)
    lines = [line for line in read_log(node.server, build_uuid).splitlines() if line.startswith("line ")]
    assert build["build_outcome"] == "success"
    assert build["kedge"]["attempt"] == 1
    assert lines == [f"line {number}" for number in range(1, 41)]


def test_a_build_that_ended_while_the_node_was_down_is_heard(
    node: RunningNode, repository: Repository, tmp_path: Path
) -> None:
    go, ended = tmp_path / "go", tmp_path / "ended"
    worker(node, f"echo begun; until test -e {go}; do sleep 0.02; done; echo ended; touch {ended}")
    push = push_in_background(node, repository)
    build_uuid = wait_for_line(node, "begun\n")

    node.kill()
    push.join()
    go.touch()
    while not ended.exists():
        time.sleep(0.01)
    node.start()

    assert wait_for_end(node.server, build_uuid)["build_outcome"] == "success"
    assert "ended" in read_log(node.server, build_uuid)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1])
def test_a_node_killed_around_a_push_keeps_what_git_accepted(
    node: RunningNode, repository: Repository, delay: float
) -> None:
    worker(node, "echo built")
    accepted = threading.Event()

    def push() -> None:
        done = node.push(repository, "app")
        if "->" in done.stderr and "error" not in done.stderr:
            accepted.set()

    thread = threading.Thread(target=push)
    thread.start()
    time.sleep(0.03 + delay)
    node.kill()
    thread.join()
    node.start()

    bare = node.data_dir / "git" / "repos" / "default" / "app.git"
    head = subprocess.run(
        ["git", "-C", str(bare), "rev-parse", "-q", "--verify", "refs/heads/main"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not head:
        assert not accepted.is_set()
        return
    deadline = time.monotonic() + 60
    while not (builds := node.server.get("/builds")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [build["build_trigger_metadata"]["commit_hash"] for build in builds] == [head]
    assert wait_for_end(node.server, builds[0]["build_uuid"])["build_outcome"] == "success"


def test_a_runner_that_vanished_with_the_node_is_tried_again(
    node: RunningNode, repository: Repository
) -> None:
    worker(node, "test -e ../../again && echo second try || { touch ../../again; sleep 60; }")
    push = push_in_background(node, repository)
    wait_for_line(node, "Executing user build command")
    build_uuid = str(latest_build(node.server)["build_uuid"])
    node.kill()
    push.join()
    kill_runners(node.data_dir)
    node.start()

    build = wait_for_end(node.server, build_uuid)
    assert build["build_outcome"] == "success"
    assert "second try" in read_log(node.server, build_uuid)
    assert [attempt["number"] for attempt in build["kedge"]["attempts"]] == [1, 2]


def kill_runners(data_dir: Path) -> None:
    """End every process that works below the data dir or was started for it, and what it has started."""
    while found := [one for one in Path("/proc").glob("[0-9]*") if belongs_to(data_dir, one)]:
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


def belongs_to(data_dir: Path, process: Path) -> bool:
    """Whether it lives and has to do with the folder."""
    try:
        return (process / "cwd").readlink().is_relative_to(data_dir) or (
            str(data_dir).encode() in (process / "cmdline").read_bytes()
        )
    except OSError:
        return False
