"""A node that builds on ECS, from the push to the page, and what its users see when ECS is in trouble."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.backends.ecs.conftest import settings_for

from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.ecs import ControlPlane
from kedge.testing.ecs.refused import Refused
from kedge.testing.node import (
    Repository,
    RunningNode,
    latest_build,
    read_log,
    wait_for_end,
    wait_for_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge.testing.ecs import EcsServer

CONFIG = """
[compute]
use = "ecs"

[builds]
silence_timeout = "20 s"
stop_grace = "1 s"

[compute.ecs]
{settings}
"""
PAGE = "mkdir -p dist && echo a page from a task > dist/index.html"


def toml(settings: dict[str, Any]) -> str:
    """Settings as lines of TOML."""
    lines = []
    for name, value in settings.items():
        inner = (
            [f"{key} = {json.dumps(one)}" for key, one in value.items()] if isinstance(value, dict) else []
        )
        lines.append(f"{name} = " + (f"{{ {', '.join(inner)} }}" if inner else json.dumps(value)))
    return "\n".join(lines)


@pytest.fixture
def start(tmp_path: Path, engine: Engine, ecs: EcsServer) -> Iterator[Callable[..., RunningNode]]:
    nodes: list[RunningNode] = []

    def start_one(**replaced: Any) -> RunningNode:
        settings = settings_for(ecs, **{"image": engine.image, **replaced})
        node = RunningNode(tmp_path, CONFIG.format(settings=toml(settings)))
        nodes.append(node)
        return node.start(f"{engine.host}:0")

    yield start_one
    for node in nodes:
        node.stop()


def push(node: RunningNode, folder: Path, build: str, deploy: str = "") -> Any:
    create_worker(node.server, "app", build=build, deploy=deploy, root="/", branch="main", previews=False)
    repository = Repository(folder / "repo")
    repository.commit({"readme.txt": "hello\n"}, "A page")
    pushed = node.push(repository, "app")
    assert pushed.returncode == 0, pushed.stderr
    return latest_build(node.server)


def queue_build(node: RunningNode, folder: Path, build: str) -> str:
    """Queue a build without waiting for it; return its id."""
    worker = create_worker(
        node.server, "app", build=build, deploy="", root="/", branch="main", previews=False
    )
    repository = Repository(folder / "repo")
    repository.commit({"readme.txt": "hello"})
    pushed = node.push(repository, "app", "main:refs/heads/side")
    assert pushed.returncode == 0, pushed.stderr
    path = f"/builds/triggers/{worker['triggers'][0]['trigger_uuid']}/builds"
    return str(node.server.post(path, {"branch": "side"})["build_uuid"])


def wait_for_reason(node: RunningNode, text: str) -> None:
    """Return once the one build that waits says so."""
    while True:
        if any(text in waiting["reason"] for waiting in node.server.get("/builds/queue")):
            return


def test_a_push_is_built_as_a_task_and_deployed(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    node = start()

    build = push(node, tmp_path, f"cat readme.txt; id -u; {PAGE}", "kedge deploy dist")

    said = read_log(node.server, build["build_uuid"])
    assert build["build_outcome"] == "success", said
    assert {"hello", "1000"} <= set(said.splitlines())
    host, _, port = node.server.url.removeprefix("http://").rpartition(":")
    address = f"http://{host}:{port}/"
    page = httpx.get(address, headers={"Host": f"app.localhost:{port}"}, trust_env=False)
    assert page.text == "a page from a task\n"
    assert [name for name, _ in ecs.plane.calls].count("RegisterTaskDefinition") == 1


def test_a_build_goes_on_while_its_node_is_killed_and_no_line_is_lost(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    node = start()
    queued = queue_build(node, tmp_path, "for i in $(seq 1 400); do echo line $i; sleep 0.02; done")
    wait_for_text(node.server, queued, "line 20\n")

    listen = node.server.url.removeprefix("http://")
    node.kill()
    node.start(listen)
    ended = wait_for_end(node.server, queued)

    assert ended["build_outcome"] == "success"
    lines = [line for line in read_log(node.server, queued).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, 401)]
    assert [name for name, _ in ecs.plane.calls].count("RunTask") == 1


def test_memory_that_runs_out_is_told_from_a_failing_command(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start()

    build = push(node, tmp_path, "exec python3 -c 'b\"x\" * (700 << 20)'")

    assert build["build_outcome"] != "success"
    assert "memory" in read_log(node.server, build["build_uuid"])


def test_a_reclaimed_spot_task_is_run_again_and_succeeds(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    node = start(capacity_providers=["FARGATE_SPOT"])
    queued = queue_build(node, tmp_path, "echo here; sleep 8")
    wait_for_text(node.server, queued, "here\n")

    (task,) = ecs.plane.tasks()
    ecs.plane.reclaim(task.arn)
    ended = wait_for_end(node.server, queued)

    assert ended["build_outcome"] == "success"
    assert ended["kedge"]["attempt"] == 2
    assert [name for name, _ in ecs.plane.calls].count("RunTask") == 2


def test_an_image_that_is_not_there_fails_the_build_at_once(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start(image="kedge-testing/no-such-image:1")

    build = push(node, tmp_path, "true")

    assert (build["build_outcome"], build["kedge"]["attempt"]) == ("fail", 1)
    assert "its image cannot be pulled" in read_log(node.server, build["build_uuid"])


def test_a_build_waits_with_a_reason_for_a_registry_that_does_not_answer(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    said = "CannotPullContainerError: dial tcp 192.0.2.1:443: i/o timeout"
    # more often than a failure of the platform is tried again
    ecs.plane.faults.pulls.extend([said] * 3)
    node = start()
    queued = queue_build(node, tmp_path, "echo at last")

    wait_for_reason(node, said)

    assert wait_for_end(node.server, queued)["build_outcome"] == "success"


def test_a_build_waits_for_capacity_with_its_reason(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    # more often than a failure of the platform is tried again
    ecs.plane.faults.failures.extend(["RESOURCE:MEMORY"] * 3)
    node = start()
    queued = queue_build(node, tmp_path, "echo at last")

    wait_for_reason(node, "RESOURCE:MEMORY")
    ended = wait_for_end(node.server, queued)

    assert ended["build_outcome"] == "success"


def test_a_throttled_build_waits_with_its_reason(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    # more often than one call is tried
    throttled = [Refused("ThrottlingException", "Rate exceeded") for _ in range(4)]
    ecs.plane.faults.errors["RunTask"].extend(throttled)
    node = start()
    queued = queue_build(node, tmp_path, "echo at last")

    wait_for_reason(node, "Rate exceeded")

    assert wait_for_end(node.server, queued)["build_outcome"] == "success"


def test_builds_wait_with_a_reason_for_an_ecs_that_is_gone(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    node = start()
    ecs.__exit__()
    queued = queue_build(node, tmp_path, "echo at last")

    wait_for_reason(node, "does not answer")
    ecs.__enter__()

    assert wait_for_end(node.server, queued)["build_outcome"] == "success"


def test_a_build_that_runs_goes_on_while_ecs_does_not_answer(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    node = start()
    queued = queue_build(node, tmp_path, "echo here; sleep 2; echo there")
    wait_for_text(node.server, queued, "here\n")

    ecs.__exit__()
    ended = wait_for_end(node.server, queued)
    ecs.__enter__()

    assert ended["build_outcome"] == "success"
    assert "there" in read_log(node.server, queued)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"cluster": "no-such-cluster"}, "check compute.ecs.cluster"),
        ({"network": {"subnets": ["subnet-missing"]}}, "The subnet ID does not exist"),
    ],
)
def test_a_wrong_setting_fails_the_build_at_once_and_says_which(
    start: Callable[..., RunningNode], tmp_path: Path, replaced: dict[str, Any], said: str
) -> None:
    node = start(**replaced)

    build = push(node, tmp_path, "true")

    assert build["build_outcome"] == "fail"
    assert build["kedge"]["attempt"] == 1
    assert said in read_log(node.server, build["build_uuid"])


def test_wrong_credentials_fail_the_build_and_say_so(
    start: Callable[..., RunningNode], tmp_path: Path, ecs: EcsServer
) -> None:
    ecs.access_key = "another"
    node = start()

    build = push(node, tmp_path, "true")

    assert build["build_outcome"] == "fail"
    assert "AWS does not know these credentials" in read_log(node.server, build["build_uuid"])


PLACES = """
[placement]
chain = ["capacity"]
capacity.locations = {{ a = 0, b = 1 }}
[compute]
use = "ecs"
[compute.ecs]
{settings}
"""


def test_a_build_runs_in_the_region_of_the_location_that_was_chosen_and_is_ended_from_another(
    tmp_path: Path, postgresql_url: str, engine: Engine, ecs: EcsServer
) -> None:
    far = ControlPlane(ecs.plane.runner, cluster="more-builds", region="us-east-1")
    ecs.add(far)
    settings = settings_for(ecs, image=engine.image)
    tables = toml(settings)
    for name, place in (
        ("a", {"cluster": "builds", "region": "eu-central-1"}),
        ("b", {"cluster": "more-builds", "region": "us-east-1"}),
    ):
        tables += f"\n[compute.ecs.locations.{name}]\n{toml({**place, 'network': settings['network']})}"
    cluster = Cluster(tmp_path, postgresql_url, names=(), more=PLACES.format(settings=tables))
    try:
        for name in ("a", "b"):
            cluster.nodes[name] = cluster.make(name)
            cluster[name].start(f"{engine.host}:0")
        a = cluster["a"]
        queued = queue_build(a, tmp_path, "echo here; sleep 600")
        wait_for_text(a.server, queued, "here\n")

        a.server.put(f"/builds/builds/{queued}/cancel")
        ended = wait_for_end(a.server, queued)

        attempt = ended["kedge"]["attempts"][-1]
        assert (attempt["node"], attempt["location"]) == ("b", "b")
        assert ended["build_outcome"] == "cancelled"
        assert ecs.plane.tasks() == []
        (task,) = far.tasks()
        assert ":us-east-1:" in task.arn
        while not task.is_stopped:
            time.sleep(0.01)
    finally:
        cluster.stop()
        far.close()
