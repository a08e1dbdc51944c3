"""The runner's other side: a small Kedge that keeps the protocol, and loses what a test tells it to lose."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

import kedge_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = Path(kedge_runner.__file__).parent.parent
PATHS = f"import sys; sys.path.insert(0, {str(SOURCE)!r});"
BOOT = "from kedge_runner.main import main; sys.exit(main())"
TOKEN = "kdr_the-attempts-own-token"


@dataclass(kw_only=True)
class Call:
    """One request as it came."""

    method: str
    path: str
    body: bytes


class _TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Runners that are killed are no news."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@dataclass
class FakeKedge:
    """Answers runners.

    `fault` is asked before every call: "drop" it as if it never came, "lose" its answer, or a status.
    """

    folder: Path
    build_uuid: str = field(default_factory=lambda: str(uuid4()))
    changed: threading.Condition = field(default_factory=threading.Condition)
    chunks: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)
    cancel: bool = False
    stale: bool = False
    fault: Callable[[Call], str | int | None] = lambda call: None
    keep_log: bool = True
    log_bytes: int = 0
    server: Any = None
    port: int = 0
    socket: str = ""

    @property
    def log(self) -> str:
        """The whole log so far."""
        return b"".join(self.chunks).decode("utf-8", "replace")

    @property
    def verdict(self) -> dict[str, Any]:
        """The last report, which must be that of the end."""
        assert self.statuses[-1]["status"] == "stopped"
        return self.statuses[-1]

    def start(self) -> None:
        """Listen, on the same port as before."""

        handler = _handler(self)
        if self.socket:
            self.server = _UnixServer(self.socket, handler)
        else:
            self.server = _TcpServer(("127.0.0.1", self.port), handler)
            self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be away."""
        self.stale, stale = False, self.stale
        self.server.shutdown()
        self.server.server_close()
        self.stale = stale
        with self.changed:
            self.server = None

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until something has come."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), self.log

    def answer(self, call: Call) -> tuple[int, Any]:
        """Status and result (or the error) of a call. `changed` is held."""
        if self.stale or (self.statuses and self.statuses[-1]["status"] == "stopped"):
            return 409, _error(12062, "the attempt has ended")
        path = urlsplit(call.path).path.removeprefix(f"/api/builds/{self.build_uuid}/")
        if call.method == "GET" and path == "job":
            return 200, self.job
        if call.method == "POST" and path == "heartbeat":
            return 200, {"cancel": self.cancel}
        if call.method == "PUT" and path == "status":
            return self._status(json.loads(call.body))
        if call.method == "POST" and path.startswith("logs/"):
            return self._append(int(path[5:]), call)
        return 404, _error(12000, "no such route")

    def _status(self, report: dict[str, Any]) -> tuple[int, Any]:
        if report["status"] == "stopped" and report["chunks"] > len(self.chunks):
            return 409, _error(12063, "gap", {"expected": len(self.chunks)})
        self.statuses.append(report)
        return 200, {"cancel": self.cancel}

    def _append(self, number: int, call: Call) -> tuple[int, Any]:
        if number > len(self.chunks):
            return 409, _error(12063, "gap", {"expected": len(self.chunks)})
        if number == len(self.chunks):
            self.log_bytes += len(call.body)
            self.chunks.append(call.body if self.keep_log else b"")
            self.times.append(int(urlsplit(call.path).query.removeprefix("time_ms=")))
        return 200, {"next": len(self.chunks), "cancel": self.cancel}


class _Failure(dict[str, Any]):
    pass


def _error(code: int, message: str, result: Any = None) -> _Failure:
    return _Failure(success=False, errors=[{"code": code, "message": message}], messages=[], result=result)


def _handler(kedge: FakeKedge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet

        def serve(self) -> None:
            server = kedge.server
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            call = Call(method=self.command, path=self.path, body=body)
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            with kedge.changed:
                fault = kedge.fault(call)
                if fault == "drop" or kedge.server is None or kedge.server is not server:
                    self.close_connection = True
                    return
                if kedge.keep_log:
                    kedge.calls.append(call)
                status, answer = (fault, None) if isinstance(fault, int) else kedge.answer(call)
                kedge.changed.notify_all()
            if fault == "lose":
                self.close_connection = True
                return
            if not isinstance(answer, _Failure):
                answer = {"success": status < 400, "errors": [], "messages": [], "result": answer}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
            """Be quiet."""

    for method in ("GET", "PUT", "POST"):
        setattr(Handler, f"do_{method}", Handler.serve)
    return Handler


@pytest.fixture
def kedge(tmp_path: Path, source: Path, commit: str) -> Iterator[FakeKedge]:
    """A Kedge with a job whose repository is `source`."""
    fake = FakeKedge(tmp_path)
    fake.start()
    fake.job = {
        "build_uuid": fake.build_uuid,
        "attempt": 1,
        "account": "default",
        "worker": "hello",
        "worker_tag": "f" * 32,
        "branch": "main",
        "commit_hash": commit,
        "is_production": True,
        "trusted": True,
        "public_url": "http://127.0.0.1:1",
        "clone": {"url": source.as_uri(), "username": "", "password": "", "local_path": str(source / ".git")},
        "root_directory": "/",
        "build_command": "",
        "deploy_command": "",
        "variables": {},
        "secrets": [],
        "deploy": {"url": "http://127.0.0.1:1", "token": "kdd_deploy-token", "account": "default"},
        "preview_alias": None,
        "timeout": 60.0,
        "stop_grace": 2.0,
    }
    yield fake
    if fake.server:
        fake.stop()


class Runners:
    """Starts runners as a compute backend does, and leaves none behind."""

    def __init__(self, kedge: FakeKedge, workspace: Path) -> None:
        self.kedge = kedge
        self.workspace = workspace
        self.started: list[subprocess.Popen[bytes]] = []
        self.endpoint = ""
        #: whether commands reach Kedge by a port of the runner's own
        self.relay = False
        #: Python that is run before the runner, such as what makes a pause short
        self.tuning = ""

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start one; it works on by itself."""
        self.workspace.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PATHS + self.tuning + BOOT],
            stdin=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], **environment},
            cwd=self.workspace,
        )
        self.started.append(process)
        assignment = {
            "endpoint": self.endpoint or f"http://127.0.0.1:{self.kedge.port}",
            "token": TOKEN,
            "build_uuid": self.kedge.build_uuid,
            "attempt": 1,
            "workspace": str(self.workspace),
            "relay": self.relay,
        }
        assert process.stdin
        with process.stdin as stdin:
            stdin.write(json.dumps(assignment).encode() + b"\n")
        return process

    def run(self, **job: Any) -> dict[str, Any]:
        """Run one to its end with this job; return what it reported."""
        self.kedge.job |= job
        assert self.start().wait(120) == 0, self.kedge.log
        return self.kedge.verdict


@pytest.fixture
def runners(kedge: FakeKedge, tmp_path: Path) -> Iterator[Runners]:
    """Starts runners."""
    starter = Runners(kedge, tmp_path / "workspace")
    yield starter
    for process in starter.started:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person would."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "someone@example.test"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "source"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "site").mkdir()
    (folder / "site" / "index.html").write_text("hello\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def commit(source: Path) -> str:
    """The hash of that commit."""
    return git(source, "rev-parse", "HEAD")


@pytest.fixture
def commit_all() -> Callable[[Path], str]:
    """Commits everything in a repository and returns the hash."""

    def commit(folder: Path) -> str:
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "more")
        return git(folder, "rev-parse", "HEAD")

    return commit
