"""What nodes measure and tell each other, and what they make of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from kedge.config.settings import PeerSettings
from kedge.errors import Unauthorized
from kedge.placement.peers import FORWARD, ClusterKey, Forwarded, Peers
from kedge.placement.routes import route_of
from kedge.testing.delay_proxy import DelayProxy
from kedge.workers.egress.ledger import Ledger, Speech
from kedge.workers.egress.targets import Targets
from kedge.workers.places.exchange import Exchange, answer_exchange, signed_target
from kedge.workers.places.placing import Placing
from kedge.workers.places.prober import Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = ClusterKey("a key of at least some length")
SAID = Forwarded(entry="sydney", visitor="192.0.2.1", scheme="https", request_id="r1")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("", "/"),
        ("/users/12/posts", "/users/*/posts"),
        ("/a/b/c/d/e", "/a/b/c/*"),
        ("/orders/9f86d081-884c-4d63-a159-9b1c3d3e4f50", "/orders/*"),
        ("//x//", "/x"),
        ("/" + "y" * 500, "/*"),
    ],
)
def test_paths_of_one_kind_have_one_pattern(path: str, route: str) -> None:
    assert route_of(path) == route


def test_what_a_node_says_is_believed_for_that_request_alone() -> None:
    said = KEY.sign(SAID, "GET", b"app.localhost", b"/x?y")
    assert KEY.verify(said, "GET", b"app.localhost", b"/x?y") == SAID
    for method, host, target in (
        ("POST", b"app.localhost", b"/x?y"),
        ("GET", b"other.localhost", b"/x?y"),
        ("GET", b"app.localhost", b"/x?z"),
    ):
        with pytest.raises(Unauthorized):
            KEY.verify(said, method, host, target)
    with pytest.raises(Unauthorized):
        ClusterKey("another").verify(said, "GET", b"app.localhost", b"/x?y")
    for rubbish in (b"", b".", b"x", said[:-1], b"A" + said[1:], b"x" * 5000):
        with pytest.raises(Unauthorized):
            KEY.verify(rubbish, "GET", b"app.localhost", b"/x?y")


def test_what_was_said_long_ago_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = KEY.sign(SAID, "GET", b"h", b"/")
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 61 * 10**9)
    with pytest.raises(Unauthorized, match="clocks"):
        KEY.verify(said, "GET", b"h", b"/")


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds: nobody tells when a measurement has come in."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


class Node:
    """A node of another location, as far as measurements go."""

    def __init__(self, connect_to: dict[str, str]) -> None:
        self.prober = Prober(Targets(connect_to=connect_to))
        self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                began = time.perf_counter()
                if head.startswith(b"HEAD"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    continue
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(fields[b"content-length"]))
                KEY.verify(fields[FORWARD], "POST", fields[b"host"], signed_target(body))
                answer = orjson.dumps(answer_exchange(self.prober, body, began))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except Unauthorized:
            self.refused += 1
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(node: Node) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        await node.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*[task for task in tasks if task])


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one) for one in work]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_prober_finds_how_far_targets_are() -> None:
    async with listening(Node({})) as near, DelayProxy(near, delay=0.02) as far:
        prober = Prober(Targets(connect_to={"near.test:80": near, "far.test:80": far.address}))
        prober.want("near.test:80", Speech.HTTP)
        prober.want("far.test:80", Speech.HTTP)
        prober.want("gone.test:80", Speech.HTTP)
        async with running(prober.run()), asyncio.timeout(20):
            await until(lambda: not (len(prober.results()) < 2))
        results = prober.results()

    assert results.keys() == {"near.test:80", "far.test:80"}
    assert results["near.test:80"] < 39 < results["far.test:80"] < 200


def placing_of(node: Node, address: str, policy: Any = None) -> tuple[Placing, Exchange]:
    peers = Peers(
        {"f1": PeerSettings(url=f"http://{address}", location="frankfurt", region="aws:eu-central-1")}
    )
    exchange = Exchange("sydney", peers, KEY, node.prober, pause=0.05)
    placing = Placing(
        "sydney",
        region="aws:ap-southeast-2",
        peers=peers,
        exchange=exchange,
        policy=policy,
        prober=node.prober,
        ledger=Ledger(),
    )
    return placing, exchange


async def test_nodes_exchange_what_they_measure_and_hints_follow_it() -> None:
    async with listening(Node({})) as data, DelayProxy(data, delay=0.03) as far_data:
        frankfurt, sydney = Node({"data.test:80": data}), Node({"data.test:80": far_data.address})
        async with listening(frankfurt) as address, DelayProxy(address, delay=0.015) as link:
            placing, exchange = placing_of(sydney, link.address)
            hint = {"mode": "targeted", "host": "data.test:80"}
            sydney.prober.want("data.test:80", Speech.HTTP)
            assert placing.choose("w", hint, "/") is not None
            async with running(placing.run(), frankfurt.prober.run()), asyncio.timeout(20):
                await until(lambda: placing.choose("w", hint, "/").location == "frankfurt")  # type: ignore[union-attr]
                assert placing._distances["sydney"]["frankfurt"] > 29
                region = placing.choose("w", {"mode": "targeted", "region": "aws:eu-central-1"}, "/")
                assert region is not None
                assert (region.location, region.placed) == ("frankfurt", True)
                own = placing.choose("w", {"mode": "targeted", "region": "aws:ap-southeast-2"}, "/")
                assert own is not None
                assert own.peer is None
                assert placing.choose("w", {}, "/") is None

                link.cut()
                await until(lambda: not (exchange.presence.there))
                fallback = placing.choose("w", {"mode": "targeted", "region": "aws:eu-central-1"}, "/")
                assert fallback is not None
                assert (fallback.location, fallback.placed) == ("sydney", False)
                link.mend()
                await until(lambda: bool(exchange.presence.there))
            exchange.close()
            await asyncio.sleep(0)


async def test_a_node_with_another_key_is_told_nothing() -> None:
    frankfurt, sydney = Node({}), Node({})
    async with listening(frankfurt) as address:
        placing, exchange = placing_of(sydney, address)
        exchange._key = ClusterKey("another key")
        async with running(placing.run()), asyncio.timeout(20):
            await until(lambda: bool(frankfurt.refused))
            assert not exchange.presence.there
        exchange.close()
        await asyncio.sleep(0)
