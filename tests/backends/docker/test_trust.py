"""Code from outside in containers: a forge that doubts who sent it, and the walls that stand by default."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

#: Kedge's own forge, but what is asked for by name, and not pushed, is trusted no more
DOUBT = """
from dataclasses import replace
from kedge_git.forge import GitForge

resolve = GitForge.resolve

async def doubt(self, repo, revision):
    return replace(await resolve(self, repo, revision), trusted=False)

GitForge.resolve = doubt
"""
CONFIG = """
plugins = ["doubt"]
[compute]
use = "docker"
[compute.docker]
image = "{image}"
engine = "{engine}"
memory = "128 MiB"
"""


@pytest.fixture
def node(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningNode]:
    """A node that builds in containers, with the plugin that doubts."""
    plugin = tmp_path / "plugin"
    known = plugin / "doubt-1.dist-info"
    known.mkdir(parents=True)
    (plugin / "doubt.py").write_text(DOUBT)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: doubt\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[kedge]\ndoubt = doubt\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]))
    running = RunningNode(tmp_path, CONFIG.format(image=engine.image, engine=engine.url)).start()
    yield running
    running.stop()
    engine.remove_containers_of(tmp_path / "data")


def test_what_is_not_trusted_is_built_without_a_network_and_changes_nothing(
    node: RunningNode, tmp_path: Path
) -> None:
    server = node.server
    worker = create_worker(
        server,
        "app",
        build="cat readme.txt; cat /proc/net/dev; mkdir -p out; cp readme.txt out/",
        deploy="kedge deploy out",
        root="/",
        branch="main",
        previews=False,
    )
    repository = Repository(tmp_path / "repo")
    repository.commit({"readme.txt": "hello\n"}, "A page")
    assert node.push(repository, "app").returncode == 0
    trusted = latest_build(server)
    assert trusted["build_outcome"] == "success", read_log(server, trusted["build_uuid"])

    trigger = worker["triggers"][0]["trigger_uuid"]
    uuid = server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})["build_uuid"]
    build = wait_for_end(server, uuid)

    log = read_log(server, uuid)
    assert build["build_outcome"] == "success", log
    assert len(build["kedge"]["attempts"]) == 1
    assert "hello" in log
    assert "eth0" not in log
    assert "Not deployed: this build is not trusted" in log
    assert len(server.get("/workers/workers/app/versions")) == 1
