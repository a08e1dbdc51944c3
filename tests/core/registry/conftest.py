"""Plugins installed for one test, as distributions of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge import PluginError
from kedge.config import Settings
from kedge.registry import Registry
from kedge.testing.fake_host import FakeHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: a plugin with a class of every kind, each named after the plugin
WHOLE = """
from pydantic import BaseModel, ConfigDict
from kedge import Compute, Scope

class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")
    speed: int = 1

class Base:
    name = "NAME"
    Settings = Table
    def __init__(self, settings, host): self.settings, self.host = settings, host
    async def open(self): ...
    async def close(self): ...

class AcmeCompute(Base):
    scope = Scope.NODE
    adopts = False
    async def start(self, request): return "id"
    async def inspect(self, compute_id): ...
    async def exits(self):
        yield
    async def stop(self, compute_id, *, grace): ...
    async def list(self): return []
    async def forget(self, compute_id): ...

class AcmeBlobs(Base):
    shared = False
    excludes = True
    signed_parts = None
    async def put(self, key, data, *, if_absent=False): ...
    async def get(self, key, *, start=0, end=None):
        yield b""
    async def stat(self, key): ...
    async def list(self, prefix=""):
        yield
    async def delete(self, key): ...
    async def presign(self, key, method, *, expires, size=None, md5=None): ...

class AcmeLogs(Base):
    shared = False
    async def append(self, key, number, data, *, time_ms): ...
    async def extent(self, key): ...
    async def read(self, key, *, start=0, end=None):
        yield
    async def tail_offset(self, key, lines): ...
    async def seal(self, key): ...
    async def unsealed(self): ...
    async def delete(self, key): ...

class AcmeForge(Base):
    hosts_repos = True
    takes_reports = False
    clone_address = None
    async def ensure_repo(self, repo): ...
    def parse(self, headers, body): ...
    async def resolve(self, repo, revision): ...
    async def list_folder(self, repo, commit_hash, folder): ...
    async def read_file(self, repo, commit_hash, path, *, limit): ...
    async def clone_source(self, repo, *, token): ...
    async def report_status(self, report): ...

class AcmeRuntime(Base):
    kinds = frozenset()
    async def start(self, request): ...

class AcmePolicy(Base):
    def choose(self, worker, route, entry): ...
    def record(self, served): ...
    def measured(self, source, target, rtt_ms): ...
    def set_locations(self, alive): ...
    def review(self, now): ...
    def explain(self, worker): ...
    def dump(self, worker): ...
    def load(self, worker, state, *, now, age): ...
    def forget(self, worker): ...

class AcmePlacement(Base):
    targets = ()
    def approve(self, request, candidate): ...
    def order(self, request, candidates): return candidates

@hookimpl
def kedge_register_compute(): return [AcmeCompute]
@hookimpl
def kedge_register_runtime(): return [AcmeRuntime]
@hookimpl
def kedge_register_blobs(): return [AcmeBlobs]
@hookimpl
def kedge_register_log_store(): return [AcmeLogs]
@hookimpl
def kedge_register_forge(): return [AcmeForge]
@hookimpl
def kedge_register_placement(): return [AcmePlacement]
@hookimpl
def kedge_register_request_placement(): return [AcmePolicy]
"""

HEAD = "from kedge import hookimpl\ncalls = []\n"


class Site:
    """A folder on the path where plugins are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def install(self, name: str, code: str, *, distribution: str = "", metadata: str = "") -> str:
        """Install the plugin `name` in version 1.2 and return its module's name."""
        module = f"plugin_{uuid4().hex}"
        self.modules.append(module)
        (self.folder / f"{module}.py").write_text(HEAD + code)
        distribution = distribution or f"acme-{name}"
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        header = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        (info / "METADATA").write_text(header + metadata)
        (info / "entry_points.txt").write_text(f"[kedge]\n{name} = {module}\n")
        return module

    def install_whole(self, name: str = "acme", *, change: str = "", to: str = "", as_name: str = "") -> str:
        """Install a plugin with a class of every kind, each of the plugin's name."""
        code = WHOLE.replace("NAME", as_name or name)
        assert change in code
        return self.install(name, code.replace(change, to) if change else code)

    def load(self, code: str) -> tuple[Registry, Any]:
        """A registry with a whole plugin and `code`, and the module of the latter."""
        self.install_whole()
        module = self.install("more", code)
        return Registry.load(self.settings("more")), sys.modules[module]

    def fault(self, *plugins: str, **sections: Any) -> str:
        """What is wrong with the plugins that are named."""
        with pytest.raises(PluginError) as caught:
            Registry.load(self.settings(*plugins, **sections))
        return str(caught.value)

    def settings(self, *plugins: str, backend: str = "acme", **sections: Any) -> Settings:
        """Settings in which every class is the one of `backend`."""
        chosen: dict[str, Any] = {
            name: {"use": backend} for name in ("compute", "runtime", "blobs", "logs", "forges")
        }
        for section, values in sections.items():
            chosen[section] = chosen.get(section, {}) | values
        return Settings.model_validate({"plugins": plugins, **chosen})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    site = Site(folder)
    yield site
    for module in site.modules:
        sys.modules.pop(module, None)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)
