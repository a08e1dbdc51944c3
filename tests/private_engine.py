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

#: where containers are limited: one folder for each kind of limit, or for all of them
CGROUPS = Path("/sys/fs/cgroup")
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
        # a manager of a swarm would look for the others for a while
        self.kill()
        left = self._kill_shims()
        run("ip", "netns", "delete", self.namespace)
        self._unmount()
        shutil.rmtree(self._folder)
        for group in [one for name in left for one in CGROUPS.glob(f"*/docker/{name}")]:
            with suppress(OSError):  # who was killed may not be quite dead
                group.rmdir()

    def _unmount(self) -> None:
        """It mounts its folder on itself, and one that was killed leaves mounts of its containers, too."""
        points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in reversed(points):
            if Path(point).is_relative_to(self._folder):
                run("umount", point)

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

    def _kill_shims(self) -> list[str]:
        """An engine that was killed forgets who holds its containers. Returns the ids of those there were."""
        left = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if not process.name.isdigit():
                    continue
                command = (process / "cmdline").read_text().split("\0")
                if any(str(self._folder) in argument for argument in command):
                    children = (process / "task" / process.name / "children").read_text().split()
                    for pid in (*children, process.name):
                        os.kill(int(pid), signal.SIGKILL)
                    left += command[command.index("-id") + 1 :][:1] if "-id" in command else []
        return left

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
