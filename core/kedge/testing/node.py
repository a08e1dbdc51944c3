"""A real node in a process of its own, and a repository to push to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import orjson

from kedge.client import find_server

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.client import Server

STOP_SECONDS = 60
PUSH_SECONDS = 120


class RunningNode:
    """`kedge up` on a free port. Its data dir outlives it, so that it can be started again."""

    def __init__(self, folder: Path, config: str = "") -> None:
        """`config` is TOML; nothing runs yet."""
        #: what it finds in its environment besides
        self.environment: dict[str, str] = {}
        self.data_dir = folder / "data"
        self._config = folder / "kedge.toml"
        self._config.write_text(config)
        self._errors = folder / "stderr"
        self._process: subprocess.Popen[str] | None = None
        self.server: Server

    def start(self, listen: str = "127.0.0.1:0") -> RunningNode:
        """Start it and wait until it is ready. Raises `RuntimeError` with what it said if it is not."""
        command = [sys.executable, "-m", "kedge", "up", "--json", "--listen", listen]
        own = {name: value for name, value in os.environ.items() if not name.startswith("KEDGE_")}
        with self._errors.open("a") as errors:
            self._process = subprocess.Popen(
                [*command, "--config", str(self._config), "--data-dir", str(self.data_dir)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=own | self.environment,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._end(signal.SIGTERM)
            raise RuntimeError(f"the node did not start: {self._errors.read_text()}")
        self.server = find_server(orjson.loads(line)["url"], None, "default", self.data_dir)
        return self

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop; return its exit code. One that never ran has none."""
        return 0 if self._process is None else self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        code = self._process.wait(STOP_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def said(self) -> str:
        """What it has written about itself so far."""
        return self._errors.read_text()

    def push_url(self, repo: str) -> str:
        """Where to push, with the token in it."""
        host = self.server.url.removeprefix("http://")
        return f"http://test:{self.server.token}@{host}/git/{self.server.account}/{repo}.git"

    def push(self, repository: Repository, repo: str, refs: str = "main") -> subprocess.CompletedProcess[str]:
        """`git push`, to its end; the remote's words are in `stderr`."""
        return subprocess.run(
            ["git", "push", "--force", self.push_url(repo), refs],
            cwd=repository.folder,
            env=Repository.environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PUSH_SECONDS,
            check=False,
        )


class Repository:
    """A git repository to push from."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one on branch `main`."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def commit(self, files: dict[str, str], message: str = "Change something") -> str:
        """Write files and commit everything; return the commit."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        """Run git; return what it prints."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    @staticmethod
    def environment() -> dict[str, str]:
        """The environment without what would bend git elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


def latest_build(server: Server) -> dict[str, Any]:
    """The newest build of the account."""
    builds: list[dict[str, Any]] = server.get("/builds", per_page=1)
    return builds[0]


def wait_for_end(server: Server, build_uuid: str) -> dict[str, Any]:
    """Follow a build to its end; return it as it is then."""
    for _ in server.events(f"/builds/builds/{build_uuid}/logs"):
        pass
    build: dict[str, Any] = server.get(f"/builds/builds/{build_uuid}")
    return build


def wait_for_text(server: Server, build_uuid: str, text: str) -> None:
    """Follow a build's log until it holds `text`. Raises `AssertionError` if it ends without."""
    seen = ""
    with closing(server.events(f"/builds/builds/{build_uuid}/logs")) as events:
        for event in events:
            if event.event == "log":
                seen += event.json()["text"]
            if text in seen:
                return
    raise AssertionError(f"{text!r} is not in {seen!r}")


def read_log(server: Server, build_uuid: str) -> str:
    """A build's whole log."""
    lines: list[str] = []
    page = server.get(f"/builds/builds/{build_uuid}/logs")
    while True:
        lines += [text for _, text in page["lines"]]
        if not page["truncated"]:
            return "\n".join(lines)
        page = server.get(f"/builds/builds/{build_uuid}/logs", cursor=page["cursor"])
