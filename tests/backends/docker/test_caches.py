"""Build caches of containers without any network: their archives go through Kedge's socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.backends.docker.test_node import CONFIG
from tests.backends.s3.conftest import Place
from tests.backends.s3.test_node import CONFIG as S3

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge.testing.ceph import Gateway

DECLARED = '[[cache]]\nname = "out"\npaths = ["out", "~/.tool"]\nkey = "out"\n'
BUILD = (
    "if test -f out/made; then echo found it && cat ~/.tool/made; else mkdir -p out ~/.tool"
    " && head -c 3000000 /dev/urandom > out/made && echo a tool > ~/.tool/made; fi"
)


@pytest.fixture
def node(tmp_path: Path, engine: Engine, ceph: Gateway) -> Iterator[RunningNode]:
    """One that builds in containers without a network, and keeps blobs where they cannot go."""
    config = CONFIG.format(image=engine.image, engine=engine.url)
    place = Place(ceph.endpoint, ceph.access_key, ceph.secret_key, tmp_path / "s3")
    config += S3.format(bucket=place.bucket, endpoint=place.endpoint, folder=place.folder)
    running = RunningNode(tmp_path, config).start()
    yield running
    running.stop()
    engine.remove_containers_of(tmp_path / "data")


def test_a_container_without_a_network_saves_and_restores(node: RunningNode, tmp_path: Path) -> None:
    create_worker(
        node.server, "app", build=BUILD, deploy="", root="/", branch="main", previews=False, cache=True
    )
    repository = Repository(tmp_path / "repo")
    repository.commit({"kedge.toml": DECLARED})

    def build() -> str:
        repository.commit({})
        pushed = node.push(repository, "app")
        assert pushed.returncode == 0, pushed.stderr
        found = wait_for_end(node.server, latest_build(node.server)["build_uuid"])
        log = read_log(node.server, found["build_uuid"])
        assert found["build_outcome"] == "success", log
        return log

    first = build()
    assert "its bytes go through Kedge, for the store is out of reach" in first
    assert "Cache out: saved" in first

    second = build()
    assert "Cache out: restored" in second
    assert "found it\na tool\n" in second
    assert "Cache out: not saved, for nothing has changed" in second
