"""A node under measurement, in a process and a data dir of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge.cli.workers import create_worker
from kedge.client import Server, find_server

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Node:
    """A running node."""

    server: Server
    pid: int
    folder: Path
    ready_seconds: float

    @property
    def data_dir(self) -> Path:
        """Where it keeps what is its own."""
        return self.folder / "data"

    def cpu_seconds(self) -> float:
        """CPU time of the control plane so far, its children left out."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def reset_peak_memory(self) -> None:
        """Count the peak anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> float:
        """The most resident memory since the last reset, MiB."""
        return memory(self.pid, "VmHWM")

    def trigger(self, name: str, *, build: str, deploy: str = "") -> str:
        """Make a worker with a repository of one commit; return the uuid of its production trigger."""
        worker = create_worker(
            self.server, name, build=build, deploy=deploy, root="/", branch="main", previews=False
        )
        repository = self.folder / f"{name}-repo"
        make_repository(repository)
        push(self.server, repository, name)
        wait_until_idle(self.server)
        return str(worker["triggers"][0]["trigger_uuid"])


def memory(pid: int, field: str) -> float:
    """A field of a process's status in MiB; 0 if the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def running_node(config: str = "") -> Iterator[Node]:
    """A fresh node with `config` (TOML), ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kb-"))
    file = folder / "kedge.toml"
    file.write_text(config)
    command = [sys.executable, "-m", "kedge", "up", "--listen", "127.0.0.1:0", "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--config", str(file), "--data-dir", str(folder / "data")],
        stdout=subprocess.PIPE,
        stderr=(folder / "stderr").open("w"),
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        took = time.perf_counter() - began
        server = find_server(ready["url"], None, "default", folder / "data")
        yield Node(server, process.pid, folder, took)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def git(*arguments: str, cwd: Path) -> str:
    """Run git."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout


def make_repository(folder: Path) -> None:
    """A small real repository: 60 files, 20 commits."""
    folder.mkdir()
    git("init", "-q", "-b", "main", cwd=folder)
    for commit in range(20):
        for number in range(3):
            (folder / f"file-{commit}-{number}.txt").write_text(f"line {number}\n" * 50)
        git("add", ".", cwd=folder)
        git("commit", "-q", "-m", f"commit {commit}", cwd=folder)


def push(server: Server, repository: Path, worker: str) -> subprocess.CompletedProcess[str]:
    """Push `main` and wait for the push to end."""
    host = server.url.removeprefix("http://")
    url = f"http://bench:{server.token}@{host}/git/{server.account}/{worker}.git"
    return subprocess.run(
        ["git", "push", "-q", url, "main"], cwd=repository, check=True, capture_output=True, text=True
    )


def build_now(server: Server, trigger: str) -> dict[str, Any]:
    """Queue a build of the newest commit of `main`."""
    build: dict[str, Any] = server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})
    return build


def get_build(server: Server, build_uuid: str) -> dict[str, Any]:
    """A build as the API shows it."""
    build: dict[str, Any] = server.get(f"/builds/builds/{build_uuid}")
    return build


def wait_until_idle(server: Server, *, every: float = 0.02) -> None:
    """Wait until no build is unfinished; ask `every` so many seconds, which costs the node a little."""
    while any(build["status"] != "stopped" for build in server.get("/builds", per_page=200)):
        time.sleep(every)
