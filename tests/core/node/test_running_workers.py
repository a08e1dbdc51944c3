"""Workers that run, on a real node: pushed, built, started, asked, replaced, and ended with the node."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.conftest import skip
from websockets.asyncio.client import connect

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[3] / "examples"
TOML = '[worker]\nkind = "asgi"\nentry = "app:app"\n'
#: an ASGI application with nothing but Python
APP = """
import os

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    print("asked for", scope["path"], flush=True)
    body = f"VERSION {os.getpid()} {os.environ.get('KEY', '')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


ECHO = """
async def app(scope, receive, send):
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        text = (await receive())["text"]
        await send({"type": "websocket.send", "text": text[::-1]})
        await receive()
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"up"})
"""


def app(version: str) -> str:
    return APP.replace("VERSION", version)


def make_worker(node: RunningNode) -> None:
    create_worker(node.server, "app", build="", deploy="kedge deploy", root="/", branch="main", previews=True)


def push(node: RunningNode, repository: Repository, files: dict[str, str]) -> dict[str, Any]:
    repository.commit(files)
    pushed = node.push(repository, "app")
    assert pushed.returncode == 0, pushed.stderr
    return wait_for_end(node.server, latest_build(node.server)["build_uuid"])


def ask(node: RunningNode, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(
        f"{node.server.url}{path}",
        headers={"Host": "app.localhost", **headers},
        trust_env=False,
        timeout=60,
    )


@pytest.fixture
def pushed(node: RunningNode, repository: Repository) -> Callable[..., RunningNode]:
    """Pushes files to a new worker, which are deployed."""

    def deploy(files: dict[str, str]) -> RunningNode:
        make_worker(node)
        build = push(node, repository, files)
        assert build["build_outcome"] == "success", read_log(node.server, build["build_uuid"])
        return node

    return deploy


def example(name: str) -> dict[str, str]:
    folder = EXAMPLES / name
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_example_of_files_answers(pushed: Callable[..., RunningNode]) -> None:
    answer = ask(pushed(example("static")))
    assert "Hello from files" in answer.text
    assert len(answer.headers.get_list("date")) == 1


def test_the_example_of_an_application_with_dependencies_answers(pushed: Callable[..., RunningNode]) -> None:
    node = pushed(example("starlette"))
    assert ask(node, "/?name=Ada").json() == {"greeting": "Hello from Starlette", "name": "Ada"}
    page = node.server.get("/workers/workers/app/logs")
    assert page["cursor"]


def test_the_example_in_node_answers(pushed: Callable[..., RunningNode]) -> None:
    if shutil.which("node") is None:
        skip("node is not installed")
    answer = ask(pushed(example("node")), "/there")
    assert answer.text == "Hello from Node at /there\n"
    assert len(answer.headers.get_list("date")) == 1, "the server's own, and not the worker's besides"


def test_a_version_that_does_not_start_leaves_the_one_that_serves(
    pushed: Callable[..., RunningNode], repository: Repository
) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    assert ask(node).text.startswith("one ")
    assert push(node, repository, {"app.py": app("two")})["build_outcome"] == "success"
    assert ask(node).text.startswith("two ")

    broken = push(node, repository, {"app.py": "raise RuntimeError('no app today')"})
    assert broken["build_outcome"] == "fail"
    log = read_log(node.server, broken["build_uuid"])
    assert "exited with code" in log
    assert "no app today" in log
    assert ask(node).text.startswith("two ")

    failed, serving, _ = node.server.get("/workers/workers/app/deployments")["deployments"]
    assert (failed["kedge"]["state"], serving["kedge"]["state"]) == ("failed", "active")
    assert "no app today" in failed["kedge"]["failure"]["log_tail"]


def test_traffic_is_split_and_the_same_key_gets_the_same_version(
    pushed: Callable[..., RunningNode], repository: Repository
) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    assert push(node, repository, {"app.py": app("two")})["build_outcome"] == "success"
    two, one = [version["id"] for version in node.server.get("/workers/workers/app/versions")["items"]]
    shares = [{"version_id": one, "percentage": 50}, {"version_id": two, "percentage": 50}]
    made = node.server.post("/workers/workers/app/deployments", {"versions": shares})
    waited = node.server.get(f"/workers/workers/app/deployments/{made['id']}", wait=True)
    assert waited["kedge"]["state"] == "active"

    by_key = {
        key: {ask(node, **{"Cloudflare-Workers-Version-Key": key}).text[:3] for _ in range(3)}
        for key in "abcdefghijklmnop"
    }
    assert all(len(seen) == 1 for seen in by_key.values())
    assert {text for seen in by_key.values() for text in seen} == {"one", "two"}
    override = {"Cloudflare-Workers-Version-Overrides": f'app="{one}"'}
    assert {ask(node, **override).text[:3] for _ in range(8)} == {"one"}


async def test_a_deploy_under_load_loses_no_request(
    pushed: Callable[..., RunningNode], repository: Repository
) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    seen: Counter[str] = Counter()
    done = asyncio.Event()

    async def visit(client: httpx.AsyncClient) -> None:
        while not done.is_set():
            response = await client.get("/", headers={"Host": "app.localhost"})
            seen[f"{response.status_code} {response.text[:3]}"] += 1

    limits = httpx.Limits(max_connections=4)
    async with httpx.AsyncClient(
        base_url=node.server.url, trust_env=False, timeout=60, limits=limits
    ) as client:
        visitors = [asyncio.create_task(visit(client)) for _ in range(4)]
        build = await asyncio.to_thread(push, node, repository, {"app.py": app("two")})
        assert build["build_outcome"] == "success"
        before = seen["200 two"]
        while seen["200 two"] < before + 50:  # noqa: ASYNC110  (the visitors tell nobody)
            await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*visitors)
    assert set(seen) == {"200 one", "200 two"}


async def test_a_websocket_goes_through_both_ways(pushed: Callable[..., RunningNode]) -> None:
    node = pushed({"app.py": ECHO, "kedge.toml": TOML})
    port = int(node.server.url.rpartition(":")[2])
    # the program has no server of its own: Kedge's speaks WebSockets
    async with connect("ws://app.localhost/", host="127.0.0.1", port=port, proxy=None) as socket:
        await socket.send("hello" * 20_000)
        assert await socket.recv() == "olleh" * 20_000


def test_a_removed_worker_ends_with_its_instances(pushed: Callable[..., RunningNode]) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    pid = ask(node).text.split()[1]
    node.server.delete("/workers/workers/app")
    assert not Path(f"/proc/{pid}").exists()
    assert ask(node).status_code == 404


def test_secrets_reach_instances_and_nothing_else(
    pushed: Callable[..., RunningNode], repository: Repository
) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    assert ask(node).text.endswith(" ")
    node.server.put("/workers/workers/app/secrets", {"name": "KEY", "text": "s3cret"})
    assert push(node, repository, {"app.py": app("two")})["build_outcome"] == "success"

    answer = ask(node).text
    assert answer.endswith(" s3cret")
    pid = answer.split()[1]
    assert "s3cret" not in Path(f"/proc/{pid}/cmdline").read_text()
    assert "s3cret" not in json.dumps(node.server.get("/workers/workers/app/versions"))
    assert node.server.get("/workers/workers/app/secrets") == [{"name": "KEY", "type": "secret_text"}]


def test_none_of_a_killed_nodes_instances_are_left_at_its_next_start(
    pushed: Callable[..., RunningNode],
) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    pid = ask(node).text.split()[1]
    node.kill()
    node.start()
    assert not Path(f"/proc/{pid}").exists()

    pid = ask(node).text.split()[1]
    node.stop()
    assert not Path(f"/proc/{pid}").exists()


def test_what_instances_print_is_read_by_cursor(pushed: Callable[..., RunningNode]) -> None:
    node = pushed({"app.py": app("one"), "kedge.toml": TOML})
    path = "/workers/workers/app/logs"
    for word in ("first", "second"):
        ask(node, f"/{word}")
        for event in node.server.events(path):
            if event.event == "log" and f"asked for /{word}" in event.data:
                break
    lines = [text for _, text in node.server.get(path)["lines"]]
    assert lines.index("asked for /first") < lines.index("asked for /second")
    assert node.server.get(path, cursor=node.server.get(path)["cursor"])["lines"] == []
