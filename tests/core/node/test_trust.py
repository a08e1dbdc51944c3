"""Code from outside on a real node: a forge that hears of it, a real runner, a worker that stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kedge.testing.node import Repository, RunningNode, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: a forge whose one repository lies in a folder; of its branches `main` alone is trusted
FORGE = """
import subprocess
from pydantic import BaseModel, ConfigDict
from kedge import CloneSource, Push, hookimpl

FOLDER = {folder!r}

class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

class Outside:
    name, Settings, hosts_repos, takes_reports = "outside", Settings, False, False
    clone_address = None
    def __init__(self, settings, host): pass
    async def open(self): pass
    async def ensure_repo(self, repo): return FOLDER
    def parse(self, headers, body): return None
    async def resolve(self, repo, revision):
        argv = ["git", "-C", FOLDER, "rev-parse", "--verify", revision]
        commit = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        return Push(repo=repo, branch=revision, commit_hash=commit, trusted=revision == "main")
    async def list_folder(self, repo, commit_hash, folder): return ()
    async def read_file(self, repo, commit_hash, path, *, limit): return b""
    async def clone_source(self, repo, *, token):
        return CloneSource(url="file://" + FOLDER, local_path=FOLDER + "/.git")
    async def report_status(self, report): pass
    async def close(self): pass

@hookimpl
def kedge_register_forge():
    return [Outside]
"""


@pytest.fixture
def node(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningNode]:
    """A node with the plugin that gives it the forge."""
    plugin = tmp_path / "plugin"
    known = plugin / "outside-1.dist-info"
    known.mkdir(parents=True)
    (plugin / "outside_forge.py").write_text(FORGE.format(folder=str(repository.folder)))
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[kedge]\noutside = outside_forge\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]))
    config = 'plugins = ["outside"]\n[forges]\nuse = ["outside"]\n[compute.process]\nuntrusted = true\n'
    running = RunningNode(tmp_path, config).start()
    yield running
    running.stop()


def test_a_fork_is_built_without_secrets_and_changes_nothing(
    node: RunningNode, repository: Repository
) -> None:
    server = node.server
    tag = server.post("/workers/workers", {"name": "site"})["id"]
    connection = server.put("/builds/repos/connections", {"provider_type": "outside", "repo_id": "site"})
    trigger = server.post(
        "/builds/triggers",
        {
            "external_script_id": tag,
            "repo_connection_uuid": connection["repo_connection_uuid"],
            "trigger_name": "production",
            "build_command": "echo the key is ${KEY:-unknown}; mkdir -p out; cp readme.txt out/",
            "deploy_command": "kedge deploy out",
            "branch_includes": ["main"],
        },
    )["trigger_uuid"]
    server.patch(f"/builds/triggers/{trigger}/environment_variables", KEY)

    def build(branch: str) -> tuple[str, str, int]:
        uuid = server.post(f"/builds/triggers/{trigger}/builds", {"branch": branch})["build_uuid"]
        outcome = wait_for_end(server, uuid)["build_outcome"]
        return outcome, read_log(server, uuid), len(server.get("/workers/workers/site/versions"))

    outcome, log, versions = build("main")
    assert (outcome, versions) == ("success", 1), log
    assert "the key is ***" in log

    repository.git("checkout", "-q", "-b", "fork")
    repository.commit({"readme.txt": "from outside"})
    outcome, log, versions = build("fork")
    assert (outcome, versions) == ("success", 1), log
    assert "Not trusted:" in log
    assert "the key is unknown" in log
    assert "Not deployed:" in log


KEY = {"KEY": {"value": "a-secret-that-nobody-outside-learns", "is_secret": True}}
