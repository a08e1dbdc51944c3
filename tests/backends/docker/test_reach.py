"""What a build in a container reaches of its machine and of the cloud that this may be in."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.backends.docker.conftest import Lab, output
from tests.docker_swarm import DOOR, Swarm, SwarmOrders, remove_services
from tests.private_engine import PrivateEngine, relay, run

from kedge.testing.orders import Orders
from kedge_docker.containers import own_network_id
from kedge_docker.runtime_settings import OWN_NETWORK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from docker.models.containers import Container
    from tests.docker_engine import Engine

FIREWALL = Path(__file__).parents[3] / "configs" / "firewall.sh"
MACHINE, METADATA = "169.254.0.1", "169.254.169.254"
OPEN, CLOSED, CLOUD = 7001, 7002, 80
#: prints what becomes of a call
CALL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('reached')"


@pytest.fixture
def machine(engine: Engine, tmp_path: Path) -> Iterator[PrivateEngine]:
    """A machine with two listeners, in a cloud that has a third: all of them namespaces of the test."""
    with PrivateEngine(engine) as machine, ExitStack() as stack:
        machine.copy(engine.stand_in)
        cloud = stack.enter_context(_cloud_of(machine))
        for namespace, port in ((machine.namespace, OPEN), (machine.namespace, CLOSED), (cloud, CLOUD)):
            stack.enter_context(relay(f"0.0.0.0:{port}", str(tmp_path / "nobody"), inside=namespace))
        yield machine


@contextmanager
def _cloud_of(machine: PrivateEngine) -> Iterator[str]:
    """A namespace that is reached from the machine, at the address where clouds tell credentials."""
    cloud = f"{machine.namespace}-c"
    end, other = f"{machine.namespace[-8:]}-m", f"{machine.namespace[-8:]}-c"
    run("ip", "netns", "add", cloud)
    try:
        run("ip", "link", "add", end, "type", "veth", "peer", "name", other)
        for namespace, device, address in (
            (machine.namespace, end, MACHINE),
            (cloud, other, METADATA),
        ):
            run("ip", "link", "set", device, "netns", namespace)
            run("ip", "-n", namespace, "address", "add", f"{address}/16", "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
        yield cloud
    finally:
        run("ip", "netns", "delete", cloud)


@pytest.fixture
async def walled(machine: PrivateEngine, engine: Engine, tmp_path: Path) -> AsyncIterator[Lab]:
    async with Orders(f"unix:{tmp_path}/kedge.sock") as orders:
        lab = Lab(tmp_path, orders, engine)
        await lab.open(engine=machine.url)
        yield lab
        await lab.close()


def reaches(container: Container, address: str, port: int) -> bool:
    return output(container, "python3", "-c", CALL, address, str(port)).strip() == "reached"


async def test_a_firewall_keeps_trusted_builds_from_the_machine_and_its_cloud_and_others_need_none(
    walled: Lab, machine: PrivateEngine
) -> None:
    trusted, _ = await walled.start(["wait"], trusted=True)
    untrusted, _ = await walled.start(["wait"])
    client = machine.client()
    inside, outside = client.containers.get(trusted), client.containers.get(untrusted)
    (network,) = inside.attrs["NetworkSettings"]["Networks"].values()
    places = [(network["Gateway"], OPEN), (network["Gateway"], CLOSED), (METADATA, CLOUD)]

    # else the rest would prove nothing
    assert [reaches(inside, *place) for place in places] == [True, True, True]
    assert [reaches(outside, *place) for place in places] == [False, False, False]
    assert len(output(outside, "cat", "/proc/net/route").splitlines()) == 1
    for _ in range(2):
        run(*machine.inside(str(FIREWALL), str(OPEN)))

    assert [reaches(inside, *place) for place in places] == [True, False, False]
    another, runner = await walled.start(["exit", 0], trusted=True)
    assert runner.hello["endpoint"].startswith("unix:")
    assert (await walled.exits.of(another)).exit_code == 0
    client.close()


def test_a_firewall_keeps_workers_from_the_machine_and_its_cloud(
    machine: PrivateEngine, engine: Engine
) -> None:
    client = machine.client()
    network = client.networks.get(own_network_id(client.api, OWN_NETWORK, "workers"))
    inside = client.containers.run(
        engine.stand_in, ["60"], entrypoint="sleep", network=network.id, detach=True, init=True
    )
    (gateway,) = [found["Gateway"] for found in network.attrs["IPAM"]["Config"]]
    places = [(gateway, OPEN), (gateway, CLOSED), (MACHINE, CLOSED), (METADATA, CLOUD)]

    assert [reaches(inside, *place) for place in places] == [True] * 4
    for _ in range(2):
        run(*machine.inside(str(FIREWALL), str(OPEN)))

    assert [reaches(inside, *place) for place in places] == [True, False, False, False]
    said = subprocess.run(machine.inside("ip6tables", "-S"), check=True, capture_output=True, text=True)
    rules = said.stdout.splitlines()
    for bridge in (OWN_NETWORK, "kedge-builds"):
        assert rules.count(f"-A INPUT -i {bridge} -j KEDGE-BUILDS-HOST") == 1
        assert rules.count(f"-A FORWARD -i {bridge} -j KEDGE-BUILDS-FORWARD") == 1
    client.close()


def test_the_doctor_tells_whether_there_is_a_firewall(machine: PrivateEngine, tmp_path: Path) -> None:
    config = tmp_path / "kedge.toml"
    config.write_text('[runtime]\nuse = "docker"\n')
    doctor = [sys.executable, "-m", "kedge", "doctor", "--config", str(config), "--json"]

    def finding() -> dict[str, str]:
        said = subprocess.run(machine.inside(*doctor), capture_output=True, text=True, check=False)
        (found,) = [one for one in json.loads(said.stdout) if one["what"] == "firewall"]
        return dict(found)

    before = finding()
    run(*machine.inside(str(FIREWALL)))

    assert (before["state"], before["found"]) == ("optional", "none around kedge-builds and kedge-workers")
    assert "configs/firewall.sh" in before["advice"]
    assert finding()["state"] == "ok"


@pytest.fixture
async def swarm_lab(machine: PrivateEngine, engine: Engine, tmp_path: Path) -> AsyncIterator[Lab]:
    """The machine as the one node of a swarm."""
    client = machine.client()
    client.swarm.init(advertise_addr=MACHINE, listen_addr=f"{MACHINE}:2377")
    client.networks.create("wide", driver="overlay")
    socket = tmp_path / "orders.sock"
    with relay(f"{DOOR[0]}:{DOOR[1]}", str(socket), inside=machine.namespace):
        async with SwarmOrders(f"unix:{socket}") as orders:
            yield Lab(tmp_path, orders, engine)
    remove_services(client)
    client.swarm.leave(force=True)
    client.close()


@pytest.mark.parametrize("network", ["kedge-builds", "wide"])
async def test_a_firewall_keeps_builds_of_a_swarm_from_its_nodes_and_their_cloud(
    swarm_lab: Lab, machine: PrivateEngine, network: str
) -> None:
    await swarm_lab.open(mode="swarm", engine=machine.url, network=network)
    await swarm_lab.start(["wait"], trusted=True)
    client = machine.client()
    (inside,) = client.containers.list()
    places = [(DOOR[0], OPEN), (DOOR[0], CLOSED), (MACHINE, CLOSED), (METADATA, CLOUD)]

    assert [reaches(inside, *place) for place in places] == [True] * 4
    for _ in range(2):
        run(*machine.inside(str(FIREWALL), "--swarm", str(OPEN), str(DOOR[1])))

    assert [reaches(inside, *place) for place in places] == [True, False, False, False]
    _, runner = await swarm_lab.start(["exit", 0], trusted=True)
    assert runner.hello["endpoint"] == Swarm.endpoint

    run(*machine.inside(str(FIREWALL)))
    assert [reaches(inside, *place) for place in places] == [True] * 4
    client.close()
    await swarm_lab.close()


def test_a_firewall_takes_ports_and_nothing_else() -> None:
    said = subprocess.run([FIREWALL, "22", "-j"], capture_output=True, text=True, check=False)

    assert said.returncode == 2
    assert "-j is no port" in said.stderr
