"""A version is found, tried, given a share, promoted and taken back by what the commands print."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.core.node.worker_of import command, deploy

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import RunningNode

APP = """
import missing_package
async def app(scope, receive, send): pass
"""


def test_a_gradual_rollout_needs_nothing_but_what_is_printed(node: RunningNode, tmp_path: Path) -> None:
    node.server.post("/workers/workers", {"name": "hello"})
    deploy(node, tmp_path, "one")
    second = tmp_path / "second"
    shutil.copytree(tmp_path / "one", second)
    server = second / "server.py"
    server.write_text(server.read_text().replace('b"one "', 'b"two "'))

    uploaded = command(node, "deploy", "--no-promote", "--message", "Better", folder=second)
    told = re.search(r"kedge deployments promote hello ([0-9a-f]{8})", uploaded)
    assert told, uploaded
    listed = command(node, "worker", "versions", "hello").splitlines()
    assert listed[1].split()[:3] == [told[1], "2", "command"]
    assert "Better" in listed[1]
    assert "100 %" in listed[2]

    before = listed[2].split()[0]
    command(node, "deployments", "create", "hello", f"{told[1]}@10", f"{before}@90")
    shared = command(node, "worker", "versions", "hello").splitlines()
    assert ["10 %" in shared[1], "90 %" in shared[2]] == [True, True]
    command(node, "deployments", "promote", "hello", told[1])
    assert ask(node) == "two"
    assert command(node, "rollback", "hello", "--to", before) == f"hello serves version {before} again.\n"
    assert ask(node) == "one"


def ask(node: RunningNode) -> str:
    headers = {"Host": "hello.localhost"}
    return httpx.get(node.server.url, headers=headers, trust_env=False, timeout=60).text.split(" ")[0]


def test_an_application_without_its_packages_is_told_how_to_bring_them(
    node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    node.server.post("/workers/workers", {"name": "hello"})
    project = tmp_path / "project"
    project.mkdir()
    (project / "app.py").write_text(APP)
    (project / "kedge.toml").write_text('[worker]\nkind = "asgi"\nentry = "app:app"\n')
    with pytest.raises(AssertionError, match="No module named 'missing_package'") as caught:
        command(node, "deploy", ".", folder=project)
    assert "pip install --target python_modules" in str(caught.value)
    headers = {"Host": "hello.localhost"}
    answer = httpx.get(node.server.url, headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 404
