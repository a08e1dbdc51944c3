"""A Docker backend with stand-in runners."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.conftest import skip
from tests.docker_registry import Registry, registry_is_missing

from kedge import ComputeRequest
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import PATIENCE, Caller, Exits, Orders
from kedge_docker.compute import DockerCompute
from kedge_docker.container_compute import ContainerCompute
from kedge_docker.settings import DockerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from docker.models.containers import Container
    from tests.docker_engine import Engine

    from kedge import ComputeStatus
    from kedge_docker.warm import WarmPool


class Lab:
    """A backend, what its runners are told, and what it tells."""

    def __init__(self, folder: Path, orders: Orders, engine: Engine) -> None:
        self.folder = folder
        self.orders = orders
        self.engine = engine
        self.compute: DockerCompute
        self.exits: Exits

    async def open(self, **settings: Any) -> DockerCompute:
        chosen = {"image": self.engine.stand_in, "memory": "128 MiB", "warm": 0, **settings}
        host = FakeHost(self.folder, endpoint=self.orders.endpoint)
        self.compute = DockerCompute(DockerSettings.model_validate(chosen), host)
        await self.compute.open()
        self.exits = Exits(self.compute)
        return self.compute

    @property
    def pool(self) -> WarmPool:
        place = self.compute._place
        assert isinstance(place, ContainerCompute)
        return place._pool

    async def close(self) -> None:
        await self.compute.close()
        await self.exits.over()

    def request(self, **fields: Any) -> ComputeRequest:
        new = {"build_uuid": str(uuid4()), "attempt": 1, "token": uuid4().hex}
        return ComputeRequest(**{"endpoint": self.orders.endpoint, **new, **fields})

    async def start(self, *steps: list[Any], **fields: Any) -> tuple[str, Caller]:
        """Start an attempt that does these steps; returns its id and its runner."""
        request = self.request(**fields)
        compute_id = await self.compute.start(request)
        runner = await self.orders.caller(request)
        if steps:
            runner.order(*steps)
        return compute_id, runner

    async def run(self, *steps: list[Any], **fields: Any) -> ComputeStatus:
        """Let an attempt do these steps; returns how it ended."""
        compute_id, _ = await self.start(*steps, **fields)
        return await self.exits.of(compute_id)

    def container(self, compute_id: str) -> Container:
        return self.engine.client.containers.get(compute_id)

    def containers(self) -> list[Container]:
        """All containers of this backend."""
        return self.engine.containers_of(self.folder)

    async def waiting(self, count: int = 1) -> list[Container]:
        """The containers that wait, once there are `count`."""
        found = await self.engine.when(lambda: self._waiting(count))
        async with asyncio.timeout(PATIENCE):
            while {container.id for container in found} != self.pool.ids:
                found = await asyncio.to_thread(self._waiting, count)
        return found

    async def forsaken(self, container: Container) -> None:
        """Return once the backend knows that a container waits no longer."""
        async with asyncio.timeout(PATIENCE):
            while container.id in self.pool.ids:
                await asyncio.to_thread(container.reload)

    def _waiting(self, count: int) -> list[Container]:
        found = [one for one in self.containers() if str(one.name).startswith("kedge-warm-")]
        ready = [one for one in found if one.status == "running"]
        return ready if len(ready) == count else []


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants to know who asks."""
    if (reason := registry_is_missing()) is not None:
        skip(reason)
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
async def lab(tmp_path: Path, engine: Engine) -> AsyncIterator[Lab]:
    async with Orders(f"unix:{tmp_path}/kedge.sock") as orders:
        lab = Lab(tmp_path, orders, engine)
        yield lab
        await lab.close()
    engine.remove_containers_of(tmp_path)


def output(container: Container, *command: str) -> str:
    """What a command prints that is run beside the runner, as the build's user."""
    said: Any = container.exec_run(list(command)).output
    return str(said.decode())
