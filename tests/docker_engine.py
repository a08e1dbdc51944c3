"""The Docker engine of this machine, and the images that tests run in it."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from kedge.testing.orders import PATIENCE, STAND_IN
from kedge_docker.engine import close_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker.models.containers import Container

T = TypeVar("T")

SOCKET = "unix:///var/run/docker.sock"
ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "configs" / "build-image" / "from_packages.py"
#: where both the runner and a stand-in for it can be had as an image
RUNNERS = {"runner": ROOT / "core" / "kedge_runner", "stand-in": STAND_IN / "kedge_runner"}
#: whose an image is: several checkouts share the engine
CHECKOUT = "kedge.testing.checkout"
CHANGES = ["USER build", "WORKDIR /workspace", f'LABEL {CHECKOUT}="{ROOT}"']


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers."""

    client: docker.DockerClient
    url: str = SOCKET

    @property
    def image(self) -> str:
        """The build image, with the runner of this source tree."""
        return _image(self.client, "runner")

    @property
    def stand_in(self) -> str:
        """The same with the stand-in that contract suites steer."""
        return _image(self.client, "stand-in")

    @property
    def host(self) -> str:
        """The address at which containers reach this machine."""
        network = self.client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # an engine that was started for the first time does not tell: it takes the first address
        return str(network.get("Gateway") or ip_network(network["Subnet"])[1])

    def containers_of(self, data_dir: Path) -> list[Container]:
        """What a node or a test with this data dir has in the engine."""
        if (label := label_of(data_dir)) is None:
            return []
        found = self.client.api.containers(all=True, filters={"label": label}, quiet=True)
        return [container for one in found if (container := self._get(one["Id"])) is not None]

    def remove_containers_of(self, data_dir: Path) -> None:
        """Remove all of it."""
        for container in self.containers_of(data_dir):
            container.remove(v=True, force=True)

    async def when(self, look: Callable[[], T]) -> T:
        """What `look` finds, once it finds something after some event of the engine."""
        events = await asyncio.to_thread(lambda: self.client.events(since=int(time.time()), decode=True))
        try:
            while not (found := await asyncio.to_thread(look)):
                await asyncio.wait_for(asyncio.to_thread(next, events), PATIENCE)
        finally:
            close_stream(events)
        return found

    def _get(self, container_id: str) -> Container | None:
        try:
            return self.client.containers.get(container_id)
        except NotFound:
            return None


def label_of(data_dir: Path) -> str | None:
    """What containers of a node with this data dir are known by, once it has been open."""
    file = data_dir / "docker" / "owner"
    return f"kedge.owner={file.read_text().strip()}" if file.exists() else None


def find_engine() -> Engine | str:
    """The engine, or why there is none."""
    if not Path("/usr/bin/dpkg").exists():
        return "the build image is made from Debian packages, and this is no Debian"
    try:
        client = docker.DockerClient(base_url=SOCKET, timeout=60)
        client.ping()
    except DockerException as error:
        return f"no Docker engine answers at {SOCKET}: {error}"
    return Engine(client=client)


def _image(client: docker.DockerClient, kind: str) -> str:
    """The name of an image of what the sources are now; it is made when it is first asked for."""
    name = f"kedge-testing/{kind}-{hashlib.sha256(bytes(ROOT)).hexdigest()[:8]}"
    tag = _digest(RUNNERS[kind])
    with _alone(kind):
        try:
            client.images.get(f"{name}:{tag}")
        except ImageNotFound:
            _remove_older(client, name)
            _remove_those_of_no_checkout(client)
            _make(client, name, tag, RUNNERS[kind])
    return f"{name}:{tag}"


def _make(client: docker.DockerClient, name: str, tag: str, runner: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--without", "nodejs", "--runner", str(runner)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as packing:
        assert packing.stdout is not None
        client.api.import_image_from_stream(packing.stdout, repository=name, tag=tag, changes=CHANGES)
    assert packing.returncode == 0


def _remove_older(client: docker.DockerClient, name: str) -> None:
    for image in client.images.list(name):
        with suppress(APIError):  # something runs in it
            client.images.remove(str(image.id))


def _remove_those_of_no_checkout(client: docker.DockerClient) -> None:
    for image in client.images.list(filters={"label": CHECKOUT}):
        if not Path(image.labels[CHECKOUT]).is_dir():
            with suppress(APIError):
                client.images.remove(str(image.id))


def _digest(runner: Path) -> str:
    files = [SCRIPT, SCRIPT.with_name("start_runner.py"), *sorted(runner.rglob("*.py"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


@contextmanager
def _alone(kind: str) -> Iterator[None]:
    with Path(f"/tmp/kedge-testing-{kind}.lock").open("w") as lock:  # noqa: S108  (every run shares the engine)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
