"""A swarm of engines of a test's own, each in its own network namespace."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from tests.private_engine import PrivateEngine, relay, run

from kedge.testing.orders import PATIENCE, Orders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

#: of the engines to each other; they reach nothing else
ADDRESSES = ("10.213.0.1", "10.213.0.2")
#: the same in each namespace: its engine's own docker0
DOOR = ("172.17.0.1", 8787)


class Swarm:
    """A manager and a worker. Containers of both reach a Unix socket of the test at the door's address."""

    endpoint = f"http://{DOOR[0]}:{DOOR[1]}"

    def __init__(self, manager: PrivateEngine, worker: PrivateEngine) -> None:
        """Both run."""
        self.manager = manager
        self.worker = worker

    @contextmanager
    def door(self, socket: Path) -> Iterator[None]:
        """Let containers reach `socket`."""
        with ExitStack() as stack:
            for engine in (self.manager, self.worker):
                stack.enter_context(relay(f"{DOOR[0]}:{DOOR[1]}", str(socket), inside=engine.namespace))
            yield


class SwarmOrders(Orders):
    """Called by containers at an address that is the same on every node."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.endpoint = Swarm.endpoint
        return self


def remove_services(client: Any) -> None:
    """Remove all, each after its task, as a manager needs it."""
    left = client.services.list()
    for service in left:
        service.scale(0)
    started = time.monotonic()
    while client.api.tasks() and time.monotonic() < started + PATIENCE:
        time.sleep(0.05)
    for service in left:
        service.remove()


@contextmanager
def swarm_of_two(engine: Engine, *images: str, heartbeat: int = 5) -> Iterator[Swarm]:
    """Start both, bring them the images, and join them.

    A node that has not been heard of for three heartbeats, of so many seconds, is down.
    """
    with PrivateEngine(engine) as manager, PrivateEngine(engine) as worker:
        _link(manager, worker)
        for image in images:
            manager.copy(image)
            worker.copy(image)
        first, second = manager.client(), worker.client()
        first.swarm.init(
            advertise_addr=ADDRESSES[0],
            listen_addr=f"{ADDRESSES[0]}:2377",
            dispatcher_heartbeat_period=heartbeat * 1_000_000_000,
        )
        token = first.swarm.attrs["JoinTokens"]["Worker"]
        second.swarm.join(
            remote_addrs=[f"{ADDRESSES[0]}:2377"], join_token=token, advertise_addr=ADDRESSES[1]
        )
        first.close()
        second.close()
        yield Swarm(manager, worker)


def _link(first: PrivateEngine, second: PrivateEngine) -> None:
    """Lay a cable between two namespaces."""
    ends = [f"kedge{uuid4().hex[:6]}" for _ in range(2)]
    run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    for engine, end, address in zip((first, second), ends, ADDRESSES, strict=True):
        run("ip", "link", "set", end, "netns", engine.namespace)
        run("ip", "-n", engine.namespace, "address", "add", f"{address}/30", "dev", end)
        run("ip", "-n", engine.namespace, "link", "set", end, "up")
