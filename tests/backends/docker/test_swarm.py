"""Builds as services of a swarm of two engines."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.conftest import skip
from tests.docker_registry import PASSWORD, USER, Registry, forget, registry_is_missing
from tests.docker_swarm import Swarm, SwarmOrders, remove_services, swarm_of_two

from kedge import CapacityUnavailable, ComputeRequest, ConfigError, ExitCause, Limits, StartRefused
from kedge.testing.compute import ComputeSuite
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import PATIENCE, Exits
from kedge_docker.compute import DockerCompute
from kedge_docker.services import Services
from kedge_docker.settings import DockerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge import Compute
    from kedge.testing.orders import Orders


@pytest.fixture(scope="module")
def swarm(engine: Engine) -> Iterator[Swarm]:
    with swarm_of_two(engine, engine.stand_in) as swarm:
        yield swarm


@pytest.fixture
async def orders(swarm: Swarm, tmp_path: Path) -> AsyncIterator[Orders]:
    socket = tmp_path / "orders.sock"
    with swarm.door(socket):
        async with SwarmOrders(f"unix:{socket}") as orders:
            yield orders


@pytest.fixture
def make(swarm: Swarm, engine: Engine, tmp_path: Path) -> Iterator[Callable[..., DockerCompute]]:
    """Makes a backend of a cluster of the test's own."""

    def make(**changed: Any) -> DockerCompute:
        settings = {
            "mode": "swarm",
            "engine": swarm.manager.url,
            "image": engine.stand_in,
            "memory": "128 MiB",
            "untrusted_network": "kedge-builds",
            "cluster": tmp_path.name[:40].lower().replace("_", "-").strip("-"),
            "stop_grace": "1 s",
        }
        return DockerCompute(DockerSettings.model_validate(settings | changed), FakeHost(tmp_path))

    yield make
    client = swarm.manager.client()
    remove_services(client)
    for secret in client.secrets.list():
        secret.remove()
    client.close()


async def nothing_left(swarm: Swarm) -> None:
    """Return once there is neither service nor secret: services go after their tasks."""
    client = swarm.manager.client()
    async with asyncio.timeout(PATIENCE):
        while client.services.list() or client.secrets.list():
            await asyncio.to_thread(client.info)
    client.close()


class TestSwarm(ComputeSuite):
    # the SDK keeps a connection for each of the last 25 addresses
    settling = 12

    @pytest.fixture
    async def orders(self, orders: Orders) -> Orders:
        return orders

    @pytest.fixture
    def make_compute(self, make: Callable[..., DockerCompute]) -> Callable[[], Compute]:
        return make


def request_of(**fields: Any) -> ComputeRequest:
    # of its own: who is left of a test before may still call
    new = {"build_uuid": uuid4().hex, "attempt": 1, "token": "sesame-token", "endpoint": Swarm.endpoint}
    return ComputeRequest(**{**new, **fields})


@pytest.fixture
async def compute(make: Callable[..., DockerCompute]) -> AsyncIterator[DockerCompute]:
    compute = make()
    await compute.open()
    yield compute
    await compute.close()


async def test_attempts_spread_over_both_nodes(compute: DockerCompute, orders: Orders, swarm: Swarm) -> None:
    requests = [request_of(build_uuid=f"b-{number}") for number in range(4)]
    await asyncio.gather(*[compute.start(request) for request in requests])
    for request in requests:
        (await orders.caller(request)).order(["wait"])

    counts = [len(engine.client().containers.list()) for engine in (swarm.manager, swarm.worker)]

    assert counts == [2, 2]


async def test_a_manager_is_asked_for_all_tasks_at_once_however_many_builds_start(
    compute: DockerCompute, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    ask = Services.tasks

    async def counted(services: Services) -> Any:
        asked.append(time.monotonic())
        return await ask(services)

    monkeypatch.setattr(Services, "tasks", counted)
    requests = [request_of(build_uuid=f"b-{number}") for number in range(6)]
    await asyncio.gather(*[compute.start(request) for request in requests])
    for request in requests:
        (await orders.caller(request)).order(["wait"])

    assert len(asked) > 1
    assert min(later - earlier for earlier, later in pairwise(asked)) > 0.09


async def test_no_description_of_a_service_shows_the_token(
    compute: DockerCompute, orders: Orders, swarm: Swarm
) -> None:
    request = request_of()
    service_id = await compute.start(request)
    runner = await orders.caller(request)
    assert runner.hello["token"] == request.token

    client = swarm.manager.client()
    api: Any = client.api
    described = [api.inspect_service(service_id), api.tasks(), api.secrets()]
    containers = [
        one for engine in (swarm.manager, swarm.worker) for one in engine.client().containers.list()
    ]
    described += [container.attrs for container in containers]
    described += [container.top() for container in containers]
    client.close()

    assert request.token not in json.dumps(described)
    assert request.token not in json.dumps(runner.hello["environ"])


async def test_what_is_forgotten_leaves_neither_service_nor_secret(
    compute: DockerCompute, orders: Orders, swarm: Swarm
) -> None:
    request = request_of()
    exits = Exits(compute)
    service_id = await compute.start(request)
    (await orders.caller(request)).order(["exit", 0])
    await exits.of(service_id)

    await compute.forget(service_id)

    await nothing_left(swarm)
    await exits.close()


async def test_a_build_is_shut_in_as_in_a_container_of_one_engine(
    compute: DockerCompute, orders: Orders, swarm: Swarm
) -> None:
    request = request_of(limits=Limits(memory_bytes=64 << 20, processes=64))
    await compute.start(request)
    (await orders.caller(request)).order(["wait"])
    engines = (swarm.manager, swarm.worker)
    (container,) = [one for engine in engines for one in engine.client().containers.list()]

    status: Any = container.exec_run(["cat", "/proc/1/status"]).output

    lines = dict(line.split(":\t", 1) for line in status.decode().splitlines() if ":\t" in line)
    assert lines["Uid"].split() == ["1000"] * 4
    assert {lines[key] for key in ("CapEff", "CapBnd", "CapPrm")} == {"0" * 16}
    assert container.exec_run(["touch", "/written"]).exit_code != 0
    assert container.exec_run(["touch", "/workspace/written"]).exit_code == 0
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert container.attrs["HostConfig"]["PidsLimit"] == 64


@pytest.mark.parametrize(
    ("settings", "fields", "word"),
    [
        ({"constraints": ["node.labels.nowhere==here"]}, {}, "no suitable node"),
        ({"memory": 1 << 50}, {}, "insufficient resources"),
        ({"location_label": "kedge.location"}, {"location": "mars"}, "no suitable node"),
    ],
)
async def test_a_swarm_without_room_makes_builds_wait_and_tells_why(
    make: Callable[..., DockerCompute], swarm: Swarm, settings: Any, fields: Any, word: str
) -> None:
    compute = make(**settings)
    await compute.open()

    with pytest.raises(CapacityUnavailable, match=word):
        await compute.start(request_of(**fields))

    await nothing_left(swarm)
    await compute.close()


async def test_a_missing_image_is_refused_for_good(make: Callable[..., DockerCompute]) -> None:
    compute = make(image="kedge-testing/no-such-image:1")
    await compute.open()

    with pytest.raises(StartRefused, match="no image kedge-testing/no-such-image:1"):
        await ends_unpulled(compute, "b-1")

    await compute.close()


@pytest.fixture(scope="module")
def registry(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that the manager alone reaches."""
    if (reason := registry_is_missing()) is not None:
        skip(reason)
    with Registry(tmp_path_factory.mktemp("registry"), port=5000, inside=swarm.manager.inside) as registry:
        yield registry


@pytest.fixture
def private_image(registry: Registry, swarm: Swarm, engine: Engine) -> Iterator[str]:
    """An image of that registry, which no node has."""
    client = swarm.manager.client()
    name = registry.push(client, engine.stand_in, "kedge/stand-in:1")
    yield name
    forget(client, name)
    client.close()


async def test_nodes_get_the_credentials_of_a_registry_and_show_them_to_nobody(
    make: Callable[..., DockerCompute],
    orders: Orders,
    swarm: Swarm,
    private_image: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", PASSWORD)
    host = private_image.partition("/")[0]
    compute = make(
        image=private_image,
        constraints=["node.role==manager"],
        registries={host: {"username": USER, "password": "env:REGISTRY_PASSWORD"}},
    )
    await compute.open()
    request = request_of()

    service_id = await compute.start(request)

    (await orders.caller(request)).order(["wait"])
    client = swarm.manager.client()
    (container,) = client.containers.list()
    assert container.attrs["Config"]["Image"].startswith(private_image)
    api: Any = client.api
    described = json.dumps([api.inspect_service(service_id), api.tasks(), container.attrs])
    client.close()
    assert PASSWORD not in described
    await compute.close()


async def test_an_image_that_a_node_may_not_pull_is_refused_and_one_that_it_cannot_pull_now_is_not(
    make: Callable[..., DockerCompute], registry: Registry, swarm: Swarm, private_image: str
) -> None:
    compute = make(image=private_image, constraints=["node.role==manager"])
    await compute.open()
    with pytest.raises(StartRefused, match=r"no basic auth credentials.*compute\.docker\.registries"):
        await ends_unpulled(compute, "b-1")
    registry.stop()
    with pytest.raises(CapacityUnavailable, match=r"cannot be pulled now .*connection refused"):
        await ends_unpulled(compute, "b-2")
    registry.start()

    await compute.close()


async def ends_unpulled(compute: DockerCompute, build_uuid: str) -> None:
    """Start an attempt without an image; what is told of it at its start or at its end is raised."""
    exits = Exits(compute)
    try:
        ended = await exits.of(await compute.start(request_of(build_uuid=build_uuid)))
    finally:
        await exits.close()
    kinds = {ExitCause.REFUSED: StartRefused, ExitCause.UNAVAILABLE: CapacityUnavailable}
    raise kinds[ended.cause or ExitCause.SELF](ended.detail)


async def test_an_address_that_nodes_cannot_reach_is_refused(compute: DockerCompute) -> None:
    with pytest.raises(StartRefused, match=r"server\.public_url"):
        await compute.start(request_of(endpoint="unix:/run/kedge.sock"))


async def test_an_engine_without_a_swarm_is_a_mistake_of_the_config(
    make: Callable[..., DockerCompute], engine: Engine, swarm: Swarm
) -> None:
    for url in (engine.url, swarm.worker.url):
        with pytest.raises(ConfigError, match="docker swarm init"):
            await make(engine=url).open()


async def test_a_build_whose_node_dies_is_told_as_lost(engine: Engine, tmp_path: Path) -> None:
    with swarm_of_two(engine, engine.stand_in, heartbeat=1) as swarm:
        socket = tmp_path / "orders.sock"
        with swarm.door(socket):
            async with SwarmOrders(f"unix:{socket}") as orders:
                await _kill_its_node(engine, swarm, orders, tmp_path)


async def _kill_its_node(engine: Engine, swarm: Swarm, orders: Orders, folder: Path) -> None:
    settings = {
        "mode": "swarm",
        "engine": swarm.manager.url,
        "image": engine.stand_in,
        "constraints": ["node.role==worker"],
        "untrusted_network": "kedge-builds",
    }
    compute = DockerCompute(DockerSettings.model_validate(settings), FakeHost(folder))
    await compute.open()
    exits = Exits(compute)
    request = request_of()
    service_id = await compute.start(request)
    (await orders.caller(request)).order(["ignore"])

    await asyncio.to_thread(swarm.worker.kill)

    async with asyncio.timeout(60):
        status = await asyncio.shield(exits._expected(service_id))
    assert status.cause is ExitCause.INFRASTRUCTURE
    assert "node" in status.detail
    await exits.close()
    await compute.close()
