"""`kedge queue` on a real node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from kedge.cli import queue
from kedge.cli.main import app
from kedge.cli.workers import create_worker
from kedge.testing.node import RunningNode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from kedge.testing.node import Repository


def test_it_shows_everybody_who_waits_however_many_pages_that_takes(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PER_PAGE", 2)
    node = RunningNode(tmp_path, "[builds]\nconcurrency = 1\n").start()
    worker = create_worker(
        node.server, "app", build="true", deploy="", root="/", branch="main", previews=False
    )
    trigger = f"/builds/triggers/{worker['triggers'][0]['trigger_uuid']}"
    node.push(repository, "app")
    node.server.patch(trigger, {"build_command": "sleep 300"})
    builds = [node.server.post(f"{trigger}/builds", {"branch": "main"})["build_uuid"] for _ in range(6)]

    options = ["--url", node.server.url, "--token", node.server.token]
    shown = json.loads(CliRunner().invoke(app, ["queue", "--json", *options]).stdout)
    table = CliRunner().invoke(app, ["queue", *options]).stdout

    assert [one["build_uuid"] for one in shown] == builds[1:]
    assert all(uuid[:8] in table for uuid in builds[1:])
    node.server.delete(trigger)
    node.stop()
