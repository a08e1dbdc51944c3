"""The build cache with a real package manager and its registry: the second build downloads nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from pathlib import Path

#: how this machine's tools trust what stands before a registry; builds see none of it
TRUST = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
PACKAGE = {"name": "site", "version": "1.0.0", "private": True, "dependencies": {"is-odd": "3.0.1"}}


def need_registry(command: list[str], folder: Path) -> None:
    """Skip the test unless `command`, which asks a registry, succeeds."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the registry does not answer {command[0]}")
    if done.returncode != 0:
        pytest.skip(f"the registry does not answer {command[0]}: {done.stderr[-300:]}")


class Project:
    """A worker that caches, and its repository."""

    def __init__(self, node: RunningNode, repository: Repository, build: str) -> None:
        self.node, self.repository = node, repository
        worker = create_worker(
            node.server, "app", build=build, deploy="", root="/", branch="main", previews=False, cache=True
        )
        variables = {name: {"value": os.environ[name]} for name in TRUST if name in os.environ}
        trigger = worker["triggers"][0]["trigger_uuid"]
        node.server.patch(f"/builds/triggers/{trigger}/environment_variables", variables)

    def build(self, files: dict[str, str]) -> str:
        """Push a commit; return the log of its build, which succeeded."""
        self.repository.commit(files)
        pushed = self.node.push(self.repository, "app")
        assert pushed.returncode == 0, pushed.stderr
        found = wait_for_end(self.node.server, latest_build(self.node.server)["build_uuid"])
        log = read_log(self.node.server, found["build_uuid"])
        assert found["build_outcome"] == "success", log
        return log


def test_npm_installs_without_a_registry_what_an_earlier_build_has_downloaded(
    node: RunningNode, repository: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps(PACKAGE))
    need_registry(["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit"], folder)
    files = {name: (folder / name).read_text() for name in ("package.json", "package-lock.json")}
    project = Project(node, repository, "node -e 'console.log(require(\"is-odd\")(3))'")

    first = project.build(files)

    assert "Cache npm: miss" in first
    assert "Cache npm: saved" in first
    second = project.build({".npmrc": "offline=true\n"})
    assert "Cache npm: restored" in second
    assert "\ntrue\n" in second
