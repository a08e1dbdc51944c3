"""A node that builds in containers, from the push to the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.private_engine import PrivateEngine

from kedge.cli.workers import create_worker
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

CONFIG = """
[compute]
use = "docker"

[compute.docker]
image = "{image}"
engine = "{engine}"
memory = "128 MiB"
network = "none"

[runtime.docker]
image = "{image}"
engine = "{engine}"
memory = "128 MiB"

[builds]
silence_timeout = "20 s"
stop_grace = "1 s"
"""
PAGE = "mkdir -p dist && echo a page from a container > dist/index.html"


@pytest.fixture
def start(tmp_path: Path, engine: Engine) -> Iterator[Callable[..., RunningNode]]:
    nodes: list[RunningNode] = []

    def start_one(**replaced: str) -> RunningNode:
        values = {"image": engine.image, "engine": engine.url, **replaced}
        nodes.append(RunningNode(tmp_path, CONFIG.format(**values)).start())
        return nodes[-1]

    yield start_one
    for node in nodes:
        node.stop()
    engine.remove_containers_of(tmp_path / "data")


def push(node: RunningNode, folder: Path, build: str, deploy: str = "") -> Any:
    create_worker(node.server, "app", build=build, deploy=deploy, root="/", branch="main", previews=False)
    repository = Repository(folder / "repo")
    repository.commit({"readme.txt": "hello\n"}, "A page")
    pushed = node.push(repository, "app")
    assert pushed.returncode == 0, pushed.stderr
    return latest_build(node.server)


def test_a_push_is_cloned_built_and_deployed_without_any_network(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start()

    build = push(node, tmp_path, f"cat readme.txt; id -u; {PAGE}", "kedge deploy dist")

    assert build["build_outcome"] == "success", read_log(node.server, build["build_uuid"])
    lines = read_log(node.server, build["build_uuid"]).splitlines()
    assert {"hello", "1000"} <= set(lines)
    port = node.server.url.rpartition(":")[2]
    page = httpx.get(f"{node.server.url}/", headers={"Host": f"app.localhost:{port}"}, trust_env=False)
    assert page.text == "a page from a container\n"


#: asks Kedge, by the socket that a container has of it, and prints what becomes of it
ASK = """
import http.client, socket, sys
for host, path in (one.split("|") for one in sys.argv[2:]):
    with socket.socket(socket.AF_UNIX) as kedge:
        kedge.connect("/run/kedge/kedge.sock")
        call = http.client.HTTPConnection("kedge")
        call.sock = kedge
        call.request("GET", path, headers={"Host": host, "Authorization": f"Bearer {sys.argv[1]}"})
        print("asked", host, path, call.getresponse().status)
"""


def test_a_container_finds_neither_the_api_nor_workers_at_its_socket(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start()
    asked = {
        "localhost|/client/v4/accounts/default/builds": 404,
        "localhost|/healthz": 404,
        "app.localhost|/": 404,
        "localhost|/api/builds/1/job": 401,
        "localhost|/git/default/app.git/info/refs?service=git-upload-pack": 200,
    }
    # of somebody who may do everything
    ask = f"python3 ask.py {node.server.token} {' '.join(map(repr, asked))}"
    first = push(node, tmp_path, f"{PAGE}; if [ -f ask.py ]; then {ask}; fi", "kedge deploy dist")
    assert first["build_outcome"] == "success", read_log(node.server, first["build_uuid"])
    repository = Repository(tmp_path / "repo")
    repository.commit({"ask.py": ASK})

    assert node.push(repository, "app").returncode == 0

    said = read_log(node.server, latest_build(node.server)["build_uuid"])
    told = [line.split()[1:] for line in said.splitlines() if line.startswith("asked ")]
    assert {f"{host}|{path}": int(status) for host, path, status in told} == asked


def test_a_command_that_fails_is_the_users_and_is_not_tried_again(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start()

    build = push(node, tmp_path, "echo no such luck; exit 7")

    assert (build["build_outcome"], build["status"]) == ("fail", "stopped")
    assert "exit code 7" in read_log(node.server, build["build_uuid"])


def test_memory_that_runs_out_is_told_from_a_failing_command(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start()

    build = push(node, tmp_path, "python3 -c 'b\"x\" * (512 << 20)'")

    assert build["build_outcome"] != "success"
    said = read_log(node.server, build["build_uuid"])
    assert "the memory limit was hit" in said


def test_a_missing_image_fails_the_build_for_good_and_says_what_to_do(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start(image="kedge-testing/no-such-image:1")

    build = push(node, tmp_path, "true")

    assert build["build_outcome"] == "fail"
    assert build["kedge"]["attempt"] == 1
    said = read_log(node.server, build["build_uuid"])
    assert said.count("has no image kedge-testing/no-such-image:1") == 1
    assert "configs/build-image/Dockerfile" in said


def test_a_build_goes_on_while_its_node_is_killed_and_no_line_is_lost(
    start: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = start()
    queued = queue_build(node, tmp_path, "for i in $(seq 1 400); do echo line $i; sleep 0.02; done")
    wait_for_text(node.server, queued, "line 20\n")

    node.kill()
    node.start()
    ended = wait_for_end(node.server, queued)

    assert ended["build_outcome"] == "success"
    lines = [line for line in read_log(node.server, queued).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, 401)]


def test_builds_wait_with_a_reason_for_an_engine_that_is_gone(
    start: Callable[..., RunningNode], tmp_path: Path, engine: Engine
) -> None:
    with PrivateEngine(engine) as private:
        private.copy(engine.image)
        private.kill()
        node = start(engine=private.url)
        queued = queue_build(node, tmp_path, "echo at last")

        wait_for_reason(node, "does not answer")
        private.start()
        ended = wait_for_end(node.server, queued)
        node.stop()

    assert ended["build_outcome"] == "success"


def queue_build(node: RunningNode, folder: Path, build: str) -> str:
    """Queue a build without waiting for it; return its id."""
    worker = create_worker(
        node.server, "app", build=build, deploy="", root="/", branch="main", previews=False
    )
    repository = Repository(folder / "repo")
    repository.commit({"readme.txt": "hello"})
    # which no trigger builds
    pushed = node.push(repository, "app", "main:refs/heads/side")
    assert pushed.returncode == 0, pushed.stderr
    path = f"/builds/triggers/{worker['triggers'][0]['trigger_uuid']}/builds"
    return str(node.server.post(path, {"branch": "side"})["build_uuid"])


def wait_for_reason(node: RunningNode, text: str) -> None:
    """Return once the one build that waits says so."""
    while True:
        # while it is tried it does not wait
        if any(text in waiting["reason"] for waiting in node.server.get("/builds/queue")):
            return


APP = """
import os

async def app(scope, receive, send):
    if scope["type"] == "http":
        body = f"{os.getuid()} in {os.getcwd()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


def test_what_was_deployed_runs_in_a_container_too(start: Callable[..., RunningNode], tmp_path: Path) -> None:
    node = start()
    create_worker(
        node.server, "app", build="", deploy="kedge deploy", root="/", branch="main", previews=False
    )
    repository = Repository(tmp_path / "repo")
    repository.commit({"app.py": APP, "kedge.toml": '[worker]\nkind = "asgi"\nentry = "app:app"\n'}, "An app")
    assert node.push(repository, "app").returncode == 0

    build = latest_build(node.server)
    assert build["build_outcome"] == "success", read_log(node.server, build["build_uuid"])
    answer = httpx.get(f"{node.server.url}/", headers={"Host": "app.localhost"}, trust_env=False)
    assert answer.text == "1000 in /app"
