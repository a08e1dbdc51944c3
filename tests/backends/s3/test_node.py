"""A node whose blobs lie on S3, from the push to the page and the log that any node reads."""

from __future__ import annotations

import fnmatch
import shutil
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONFIG = """
[blobs]
use = "s3"

[blobs.s3]
bucket = "{bucket}"
prefix = "kedge/"
endpoint = "{endpoint}"
region = "us-east-1"
access_key = "file:{folder}/access"
secret_key = "file:{folder}/secret"
attempts = 2
"""
BUILD = "mkdir -p dist && echo a page from S3 > dist/index.html && head -c 3000000 /dev/zero > dist/large.bin"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Any], RunningNode]]:
    nodes: list[RunningNode] = []

    def start_one(place: Any) -> RunningNode:
        folder = tmp_path / f"node-{len(nodes)}"
        folder.mkdir()
        config = CONFIG.format(bucket=place.bucket, endpoint=place.endpoint, folder=place.folder)
        node = RunningNode(folder, config).start()
        nodes.append(node)
        return node

    yield start_one
    for node in nodes:
        node.stop()


def push(node: RunningNode, folder: Path, build: str, deploy: str = "kedge deploy dist") -> Any:
    create_worker(node.server, "app", build=build, deploy=deploy, root="/", branch="main", previews=False)
    repository = Repository(folder / "repo")
    repository.commit({"readme.txt": "hello"}, "A page")
    pushed = node.push(repository, "app")
    assert pushed.returncode == 0, pushed.stderr
    return latest_build(node.server)


def page(node: RunningNode, path: str = "/") -> httpx.Response:
    port = httpx.URL(node.server.url).port
    return httpx.get(node.server.url + path, headers={"Host": f"app.localhost:{port}"}, trust_env=False)


def wait_for_keys(place: Any, count: int, suffix: str) -> list[str]:
    """What goes to the store in its own time has no event that a stranger could wait for."""
    end = time.monotonic() + 60
    while len(found := fnmatch.filter(place.keys(), f"*{suffix}")) < count:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_a_build_is_deployed_served_and_its_log_read_back_from_s3(
    place: Any, start: Callable[[Any], RunningNode], tmp_path: Path
) -> None:
    node = start(place)

    build = push(node, tmp_path, BUILD)

    assert build["build_outcome"] == "success", read_log(node.server, build["build_uuid"])
    assert page(node).text == "a page from S3\n"
    assert page(node, "/large.bin").content == bytes(3_000_000)
    log = read_log(node.server, build["build_uuid"])
    (index,) = wait_for_keys(place, 1, ".idx")
    assert index == f"kedge/logs/{build['build_uuid'][:2]}/{build['build_uuid']}.1.idx"
    assert fnmatch.filter(place.keys(), "kedge/*") == place.keys()
    assert not (node.data_dir / "blobs").exists()
    node.stop()
    shutil.rmtree(node.data_dir / "logs")
    node.start()
    assert read_log(node.server, build["build_uuid"]) == log
    assert "a page from S3" in page(node).text


def test_a_store_that_vanishes_does_not_take_the_builds_result_along(
    place: Any, start: Callable[[Any], RunningNode], tmp_path: Path, damage: Any
) -> None:
    place.endpoint = damage(place.endpoint, "")
    node = start(place)
    damage.harm("away")

    build = push(node, tmp_path, "echo built anyway", deploy="")

    build = wait_for_end(node.server, build["build_uuid"])
    log = read_log(node.server, build["build_uuid"])
    assert (build["build_outcome"], build["status"]) == ("success", "stopped")
    assert "built anyway" in log
    assert place.keys() == []
    damage.back()
    assert wait_for_keys(place, 1, ".idx")
    assert read_log(node.server, build["build_uuid"]) == log


def test_a_store_that_is_gone_for_good_during_a_deploy_fails_it_and_what_serves_goes_on(
    place: Any, start: Callable[[Any], RunningNode], tmp_path: Path, damage: Any
) -> None:
    place.endpoint = damage(place.endpoint, "")
    node = start(place)
    push(node, tmp_path, "mkdir -p dist && cat readme.txt > dist/index.html")
    assert page(node).text == "hello"
    damage.harm("away", only="/files/")
    repository = Repository(tmp_path / "repo")
    repository.commit({"readme.txt": "never seen"}, "Another page")

    assert node.push(repository, "app").returncode == 0

    build = wait_for_end(node.server, latest_build(node.server)["build_uuid"])
    log = read_log(node.server, build["build_uuid"])
    assert build["build_outcome"] == "fail", log
    assert "Try again later" in log
    assert page(node).text == "hello"
    damage.back()
    repository.commit({"readme.txt": "back"}, "A page once more")
    assert node.push(repository, "app").returncode == 0
    assert wait_for_end(node.server, latest_build(node.server)["build_uuid"])["build_outcome"] == "success"
    assert page(node).text == "back"


def test_a_node_says_at_once_what_is_wrong_with_its_bucket(
    place: Any, start: Callable[[Any], RunningNode]
) -> None:
    place.bucket = "nobody-made-this"
    with pytest.raises(RuntimeError, match="nobody-made-this: the bucket does not exist: create it"):
        start(place)
