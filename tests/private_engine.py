"""A Docker engine of a test's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import docker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docker_engine import Engine

#: tenths of a second for an engine to start
START_TRIES = 300


class PrivateEngine:
    """An engine of a test's own, in its own network namespace: it may be killed and started again."""

    def __init__(self, source: Engine, *options: str) -> None:
        """Nothing runs yet. Images are copied from `source`; `options` are further ones of `dockerd`."""
        self._options = options
        # the paths of its sockets have to be short
        self._folder = Path(tempfile.mkdtemp(prefix="kedge-engine-"))
        self._source = source
        self.namespace = f"kedge-{uuid4().hex[:8]}"
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self._folder / "docker.sock"
        self.url = f"unix://{self.socket}"

    def __enter__(self) -> Self:
        """Make the namespace and start."""
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and all that runs in it."""
        if self.answers():
            client = self.client()
            for container in client.containers.list(all=True):
                container.remove(v=True, force=True)
            client.close()
        self.kill(signal.SIGTERM)
        self._kill_shims()
        run("ip", "netns", "delete", self.namespace)
        # it mounts its folder on itself, which only the table of mounts shows
        if str(self._folder) in Path("/proc/mounts").read_text():
            run("umount", "--recursive", str(self._folder / "data"))
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)
        for _ in range(START_TRIES):
            if self.answers():
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError((self._folder / "log").read_text()[-2000:])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it. Containers end too, unless it is killed: then they go on until it is started again."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(60)
        self._process = None
        if number == signal.SIGKILL:
            self._kill_containerd()

    def _kill_containerd(self) -> None:
        """The next start would wait for the old one to end, or for whoever has its number now."""
        record = self._folder / "exec" / "containerd" / "containerd.pid"
        pid = int(record.read_text())
        if b"containerd" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
        record.unlink()

    def _kill_shims(self) -> None:
        """An engine that was killed while it started a container forgets who holds it."""
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if (
                    process.name.isdigit()
                    and str(self._folder).encode() in (process / "cmdline").read_bytes()
                ):
                    children = (process / "task" / process.name / "children").read_text().split()
                    for pid in (*children, process.name):
                        os.kill(int(pid), signal.SIGKILL)

    def answers(self) -> bool:
        """Whether it does."""
        with socket.socket(socket.AF_UNIX) as knocking:
            try:
                knocking.connect(str(self.socket))
            except OSError:
                return False
        # it listens before it answers
        self.client().close()
        return True

    def client(self) -> docker.DockerClient:
        """A fresh connection. Raises `DockerException`."""
        return docker.DockerClient(base_url=self.url, timeout=60, version="auto")

    def copy(self, image: str) -> str:
        """Bring an image of the machine's engine here."""
        client = self.client()
        client.images.load(b"".join(self._source.client.images.get(image).save(named=True)))
        client.close()
        return image

    def inside(self, *argv: str) -> list[str]:
        """A command, to be run in the namespace: `ip netns exec` would hide the cgroups."""
        return in_namespace(self.namespace, *argv)

    def _command(self) -> list[str]:
        folder = self._folder
        return [
            *self.inside("/usr/sbin/dockerd", "--host", self.url),
            *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
            *("--pidfile", str(folder / "pid"), "--live-restore=false"),
            *self._options,
        ]


def in_namespace(namespace: str, *argv: str) -> list[str]:
    """A command, to be run in a network namespace."""
    return ["nsenter", f"--net=/var/run/netns/{namespace}", *argv]


@contextmanager
def relay(listen: str, target: str, *, inside: str | None = None) -> Iterator[None]:
    """Pass connections on, from within a network namespace if one is named."""
    command = [sys.executable, str(Path(__file__).parent / "relay.py"), listen, target]
    command = command if inside is None else in_namespace(inside, *command)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def run(*argv: str) -> None:
    """Run a command. Raises `CalledProcessError`."""
    subprocess.run(argv, check=True, capture_output=True)
