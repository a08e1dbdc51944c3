"""Whole builds as data: each file in `tests/scenarios` is pushed to a real node."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))
CGROUP_ROOTS = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/cgroup.subtree_control")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    nodes = []

    def start(config: str) -> RunningNode:
        nodes.append(RunningNode(tmp_path, config).start())
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, start: Any, tmp_path: Path) -> None:
    scenario = tomllib.loads(path.read_text())
    if scenario.get("needs") == "cgroups" and not any(os.access(root, os.W_OK) for root in CGROUP_ROOTS):
        pytest.skip("this machine lets nobody limit memory by cgroups")
    node = start(scenario.get("config", ""))
    make_worker(node, scenario)
    repository = Repository(tmp_path / "repo")
    repository.commit(
        {"readme.txt": "hello", **scenario.get("files", {})}, scenario.get("message", "A change")
    )

    pushed = node.push(repository, "app")

    assert pushed.returncode == 0, pushed.stderr
    check(node, scenario["expect"], pushed.stderr)


def make_worker(node: RunningNode, scenario: dict[str, Any]) -> None:
    worker = create_worker(
        node.server,
        "app",
        build=scenario["build"],
        deploy=scenario.get("deploy", ""),
        root=scenario.get("root", "/"),
        branch="main",
        previews=False,
    )
    variables = {
        key: {"is_secret": is_secret, "value": value}
        for is_secret, table in ((False, "variables"), (True, "secrets"))
        for key, value in scenario.get(table, {}).items()
    }
    uuid = worker["triggers"][0]["trigger_uuid"]
    node.server.patch(f"/builds/triggers/{uuid}/environment_variables", variables)


def check(node: RunningNode, expect: dict[str, Any], shown: str) -> None:
    build = latest_build(node.server)
    log = read_log(node.server, build["build_uuid"])
    assert build["build_outcome"] == expect["outcome"], log
    assert build["status"] == "stopped"
    failure = build["kedge"]["failure"]
    assert (failure and failure["class"]) == expect.get("failure", failure and failure["class"])
    if "exit_code" in expect:
        assert build["kedge"]["exit_code"] == expect["exit_code"]
    if "attempts" in expect:
        assert build["kedge"]["attempt"] == expect["attempts"]
    for text in expect.get("log", ()):
        assert text in log
    for text in expect.get("lacks", ()):
        assert text not in log
        assert text not in shown
    for text in expect.get("bytes", ()):
        assert text.encode("latin-1") in raw_log(node, build["build_uuid"])
    if "page" in expect:
        assert expect["page"] in page(node)
    if "leaves_no_process" in expect:
        assert not running(expect["leaves_no_process"])


def raw_log(node: RunningNode, build_uuid: str) -> bytes:
    url = f"{node.server.base}/builds/builds/{build_uuid}/logs?format=text"
    headers = {"Authorization": f"Bearer {node.server.token}"}
    return httpx.get(url, headers=headers, trust_env=False).content


def page(node: RunningNode) -> str:
    port = httpx.URL(node.server.url).port
    return httpx.get(node.server.url, headers={"Host": f"app.localhost:{port}"}, trust_env=False).text


def running(command: str) -> list[str]:
    """Processes of a marked build that run `command`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if line.strip() == command and b"KEDGE" in environment:
                found.append(entry.name)
    return found
