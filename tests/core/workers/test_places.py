"""What nodes measure and tell each other, and what they make of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from kedge.config.settings import PeerSettings
from kedge.errors import Unauthorized
from kedge.placement.cluster_key import FORWARD, ClusterKey, Forwarded, Moments, WrongMoment
from kedge.placement.peers import Peers
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


class Clock:
    """Seconds, as the test has it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def two_nodes() -> tuple[ClusterKey, ClusterKey, Clock, Moments]:
    """Who says something, who hears it, the clock of the latter, and what the former knows of it."""
    here, there = Clock(), Clock()
    there.now = 5.0
    hears = ClusterKey("a key of at least some length", there)
    moments = Moments(here)
    moments.learn("there", hears.moment)
    return ClusterKey("a key of at least some length", here), hears, there, moments


def test_what_a_node_says_is_believed_for_that_request_alone_and_once() -> None:
    says, hears, _, moments = two_nodes()
    said = says.sign(SAID, "GET", b"app.localhost", b"/x?y", moment=moments.at("there"))
    for method, host, target in (
        ("POST", b"app.localhost", b"/x?y"),
        ("GET", b"other.localhost", b"/x?y"),
        ("GET", b"app.localhost", b"/x?z"),
    ):
        with pytest.raises(Unauthorized):
            hears.verify(said, method, host, target)
    with pytest.raises(Unauthorized):
        ClusterKey("another").verify(said, "GET", b"app.localhost", b"/x?y")
    for rubbish in (b"", b".", b"x", said[:-1], b"A" + said[1:], b"x" * 5000):
        with pytest.raises(Unauthorized) as refused:
            hears.verify(rubbish, "GET", b"app.localhost", b"/x?y")
        # whoever has no key is not told what moment it is
        assert not isinstance(refused.value, WrongMoment)
    assert hears.verify(said, "GET", b"app.localhost", b"/x?y") == SAID
    with pytest.raises(WrongMoment):
        hears.verify(said, "GET", b"app.localhost", b"/x?y")
    again = says.sign(SAID, "GET", b"app.localhost", b"/x?y", moment=moments.at("there"))
    assert hears.verify(again, "GET", b"app.localhost", b"/x?y") == SAID


@pytest.mark.parametrize("seconds", [-3.0, 11.0, 3600.0, float("nan")])
def test_what_was_said_for_another_moment_is_refused(seconds: float) -> None:
    says, hears, clock, moments = two_nodes()
    said = says.sign(SAID, "GET", b"h", b"/", moment=moments.at("there"))
    clock.now += seconds
    with pytest.raises(WrongMoment) as refused:
        hears.verify(said, "GET", b"h", b"/")
    clock.now = 5000.0
    moments.learn("there", b"nonsense")
    moments.learn("there", hears.moment)
    said = says.sign(SAID, "GET", b"h", b"/", moment=moments.at("there"))
    assert hears.verify(said, "GET", b"h", b"/") == SAID
    assert refused.value.moment.partition(b"/")[0] == hears.moment.partition(b"/")[0]


def test_a_word_is_not_good_after_many_others_or_after_a_restart() -> None:
    says, hears, clock, moments = two_nodes()
    words = [says.sign(SAID, "GET", b"h", b"/", moment=moments.at("there")) for _ in range(100)]
    for word in words:
        hears.verify(word, "GET", b"h", b"/")
        clock.now += 0.1
    for word in words:
        with pytest.raises(WrongMoment):
            hears.verify(word, "GET", b"h", b"/")
    with pytest.raises(WrongMoment):
        ClusterKey("a key of at least some length", clock).verify(
            says.sign(SAID, "GET", b"h", b"/", moment=moments.at("there")), "GET", b"h", b"/"
        )


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds: nobody tells when a measurement has come in."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


class Node:
    """A node of another location, as far as measurements go."""

    def __init__(self, connect_to: dict[str, str]) -> None:
        self.prober = Prober(Targets(connect_to=connect_to))
        self.refused = 0

    def answer(self, body: bytes, began: float) -> Any:
        return answer_exchange(self.prober, body, began)

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
                answer = orjson.dumps(self.answer(body, began))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except WrongMoment as error:
            head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nkedge-moment: %b\r\n\r\n"
            writer.write(head % error.moment)
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
    async with listening(Node({})) as near, DelayProxy(near, delay=0.5) as far:
        prober = Prober(Targets(connect_to={"near.test:80": near, "far.test:80": far.address}))
        prober.want("near.test:80", Speech.HTTP)
        prober.want("far.test:80", Speech.HTTP)
        prober.want("gone.test:80", Speech.HTTP)
        async with running(prober.run()), asyncio.timeout(60):
            await until(lambda: not (len(prober.results()) < 2))
        results = prober.results()

    assert results.keys() == {"near.test:80", "far.test:80"}
    assert results["near.test:80"] < 999 < results["far.test:80"]


async def test_a_target_that_says_too_much_keeps_none_from_being_measured() -> None:
    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server, listening(Node({})) as near:
        loud = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        prober = Prober(Targets(connect_to={"loud.test:80": loud, "near.test:80": near}))
        prober.want("loud.test:80", Speech.HTTP)
        measuring = asyncio.create_task(prober.run())
        try:
            async with asyncio.timeout(60):
                await until(lambda: measuring.done() or prober._targets["loud.test:80"].failures > 0)
                assert not measuring.done()
                prober.want("near.test:80", Speech.HTTP)
                await until(lambda: measuring.done() or "near.test:80" in prober.results())
            assert not measuring.done()
        finally:
            measuring.cancel()


def placing_of(node: Node, address: str, policy: Any = None) -> tuple[Placing, Exchange]:
    region = "aws:eu-central-1"
    peers = Peers(
        {
            # nobody answers there
            "d1": PeerSettings(url="http://127.0.0.1:1", location="darmstadt", region=region),
            "f1": PeerSettings(url=f"http://{address}", location="frankfurt", region=region),
        }
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
            async with running(placing.run(), frankfurt.prober.run()), asyncio.timeout(60):
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
        async with running(placing.run()), asyncio.timeout(60):
            await until(lambda: bool(frankfurt.refused))
            assert not exchange.presence.there
        exchange.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("by", [-3600, 3600, 10**7])
async def test_a_clock_that_jumps_loses_nobody(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    frankfurt, sydney = Node({}), Node({})
    async with listening(frankfurt) as address, DelayProxy(address, delay=0.0) as link:
        placing, exchange = placing_of(sydney, link.address)
        hint = {"mode": "targeted", "region": "aws:eu-central-1"}
        told = 0

        def count(_: str, __: str, ___: float) -> None:
            nonlocal told
            told += 1

        exchanging = exchange.run(measured=count, changed=placing._alive)
        async with running(exchanging), asyncio.timeout(20):
            await until(lambda: bool(exchange.presence.there))
            seconds, nanoseconds = time.time, time.time_ns
            monkeypatch.setattr(time, "time", lambda: seconds() + by)
            monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + by * 10**9)
            before = told
            await until(lambda: told > before + 3)
            place = placing.choose("w", hint, "/")
            assert place is not None
            assert place.location == "frankfurt"
            said = KEY.sign(SAID, "GET", b"h", b"/", moment=exchange.moments.at("f1"))
            assert KEY.verify(said, "GET", b"h", b"/") == SAID
        exchange.close()
        await asyncio.sleep(0)


class Babbler(Node):
    """Answers every question with the same nonsense."""

    def __init__(self, says: Any) -> None:
        super().__init__({})
        self.says = says
        self.asked = 0

    def answer(self, body: bytes, began: float) -> Any:
        self.asked += 1
        return self.says


@pytest.mark.parametrize(
    "says",
    [
        None,
        [],
        {"rtts": [1, 2], "took_ms": 1},
        {"rtts": {"wanted.test:80": "soon"}, "took_ms": 1},
        {"rtts": {}, "took_ms": []},
        {"rtts": {f"host{number}.test:80": 1 for number in range(20_000)}, "took_ms": 1},
    ],
)
async def test_a_node_that_answers_nonsense_is_not_used_and_harms_no_other(says: Any) -> None:
    frankfurt, sydney = Babbler(says), Node({})
    async with listening(frankfurt) as address:
        placing, exchange = placing_of(sydney, address)
        sydney.prober.want("wanted.test:80", Speech.HTTP)
        async with running(placing.run()), asyncio.timeout(20):
            await until(lambda: frankfurt.asked > 3)
        assert not exchange.presence.there
        assert not placing._distances
        exchange.close()
        await asyncio.sleep(0)


async def test_of_what_a_node_tells_only_what_was_asked_and_can_be_counts() -> None:
    rtts = {"wanted.test:80": 7.0, "wanted.test:81": -1.0, "wanted.test:82": 1e300, "other.test:80": 1.0}
    frankfurt, sydney = Babbler({"rtts": rtts, "took_ms": -1e9}), Node({})
    async with listening(frankfurt) as address:
        placing, exchange = placing_of(sydney, address)
        for port in (80, 81, 82):
            sydney.prober.want(f"wanted.test:{port}", Speech.HTTP)
        async with running(placing.run()), asyncio.timeout(20):
            await until(lambda: frankfurt.asked > 3)
            assert placing._distances["frankfurt"] == {"wanted.test:80": 7.0}
            assert 0 < placing._distances["sydney"]["frankfurt"] < 10_000
        exchange.close()
        await asyncio.sleep(0)
