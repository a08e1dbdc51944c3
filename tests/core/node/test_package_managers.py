"""The build cache with a real package manager and its registry: the second build downloads nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    assert "Cache npm: not saved" in second
    assert "\ntrue\n" in second


#: of what comes over plain HTTP pip keeps only what it is told to trust
TRUSTED = "--trusted-host 127.0.0.1\n"
WHEEL = "greeting-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel() -> bytes:
    """One module, whose wheel is too large to be overlooked."""
    files = {"greeting.py": "said = 'hello'\n" + "#" * 100_000}
    about = "greeting-1.0.dist-info"
    files |= {f"{about}/METADATA": METADATA, f"{about}/WHEEL": TAGS}
    record = "".join(f"{name},,\n" for name in files)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as wheel:
        for name, text in {**files, f"{about}/RECORD": record}.items():
            wheel.writestr(name, text)
    return target.getvalue()


class Registry(ThreadingHTTPServer):
    """A package index of one wheel, with the headers that PyPI sends."""

    def __init__(self) -> None:
        self.wheel = make_wheel()
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple/"

    def downloads(self) -> int:
        return len([path for path in self.asked if path.startswith("GET") and path.endswith(".whl")])


class _Answer(BaseHTTPRequestHandler):
    server: Registry  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        wheel, digest = self.server.wheel, hashlib.sha256(self.server.wheel).hexdigest()
        if self.path.endswith(".whl"):
            return self._send(wheel, "application/octet-stream", "max-age=365000000, immutable, public")
        link = f'<a href="/{WHEEL}#sha256={digest}">{WHEEL}</a>'
        page = f"<!DOCTYPE html><html><body>{link}</body></html>"
        return self._send(page.encode(), "text/html", "max-age=600")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, body: bytes, kind: str, caching: str) -> None:
        self.send_response(200)
        for name, value in (("Content-Type", kind), ("Cache-Control", caching), ("ETag", '"1"')):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (named by the base class)
        """Nothing: the list tells."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry()
    yield found
    found.shutdown()
    found.server_close()


def test_pip_downloads_nothing_that_an_earlier_build_has_downloaded(
    node: RunningNode, repository: Repository, registry: Registry
) -> None:
    project = Project(node, repository, "python3 -c 'import greeting; print(greeting.said)'")

    first = project.build({"requirements.txt": f"--index-url {registry.url}\n{TRUSTED}greeting==1.0\n"})
    assert "Cache pip: saved" in first
    assert registry.downloads() == 1

    second = project.build({"other": "file"})
    assert "Cache pip: restored" in second
    assert "Using cached" in second
    assert "\nhello\n" in second
    assert registry.downloads() == 1


@pytest.fixture
def uv_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed beside the tests is found by what they start."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("uv_on_path")
def test_uv_downloads_nothing_that_an_earlier_build_has_downloaded(
    node: RunningNode, repository: Repository, registry: Registry, tmp_path: Path
) -> None:
    index = f'[[tool.uv.index]]\nurl = "{registry.url}"\ndefault = true\n'
    project = '[project]\nname = "site"\nversion = "1"\nrequires-python = ">=3.11"\n'
    project += 'dependencies = ["greeting"]\n'
    (tmp_path / "pyproject.toml").write_text(project + index)
    environment = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_PYTHON": sys.executable}
    subprocess.run(["uv", "lock"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    files = {name: (tmp_path / name).read_text() for name in ("pyproject.toml", "uv.lock")}
    registry.asked.clear()
    built = Project(node, repository, "python -c 'import greeting; print(greeting.said)'")

    first = built.build(files)
    assert "Cache uv: saved" in first
    assert registry.downloads() == 1

    second = built.build({"other": "file"})
    assert "Cache uv: restored" in second
    assert "\nhello\n" in second
    assert registry.downloads() == 1
