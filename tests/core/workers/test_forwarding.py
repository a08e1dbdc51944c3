"""What becomes of a request whose node fails, in each way that a node can."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from kedge.placement.cluster_key import ClusterKey, Moments
from kedge.placement.peers import Peer
from kedge.workers.places.forwarding import Forwarding
from kedge.workers.places.presence import Presence
from kedge.workers.places.repeatable import MOST_KEPT, Repeatable
from kedge.workers.relay.headers import Visitor
from kedge.workers.relay.relay import Bounds, NoAnswer, Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


@dataclass
class Far:
    """A node that answers each request with the same bytes, and then ends the connection or stays."""

    says: bytes
    stays: bool = False
    asked: list[bytes] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"content-length: 4" in head:
                head += await reader.readexactly(4)
            self.asked.append(head)
            writer.write(self.says)
            self.was_asked.set()
            if self.stays:
                await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def listening(far: Far) -> AsyncIterator[Peer]:
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        await far.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield Peer(name="far", location="far", region=None, address=address)
    server.close()
    await asyncio.gather(*[task for task in tasks if task])


class Near:
    """The node that passes a request on."""

    def __init__(self, **bounds: float) -> None:
        self.presence = Presence()
        self.lost: list[Peer] = []
        self.relay = Relay(Bounds(**bounds))  # type: ignore[arg-type]
        self.forwarding = Forwarding(
            "near",
            ClusterKey("key"),
            self.relay,
            presence=self.presence,
            moments=Moments(),
            lost=self.lost.append,
        )
        self.sent: list[Any] = []
        self.leaves = asyncio.Event()
        self.received = 0

    def ask(self, peer: Peer, method: str, body: bytes = b"") -> asyncio.Task[bool]:
        headers = [(b"host", b"app.localhost")]
        if body:
            headers.append((b"content-length", b"%d" % len(body)))
        scope = {
            "type": "http",
            "method": method,
            "headers": headers,
            "raw_path": b"/",
            "query_string": b"",
        }

        async def receive() -> Any:
            self.received += 1
            if self.received == 1:
                return {"type": "http.request", "body": body, "more_body": False}
            await self.leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent.append(message)

        self.receive = Repeatable(receive)
        sending = self.forwarding.send(
            peer,
            scope,
            self.receive,
            send,
            visitor=Visitor("192.0.2.1", "http", b"app.localhost"),
            request_id=b"r1",
            answered=lambda _: (),
        )
        return asyncio.ensure_future(sending)


@pytest.mark.parametrize("says", [b"", HEAD % 3, HEAD % 3 + b"ab", b"nonsense\r\n\r\n", b"\xff" * 200_000])
async def test_what_may_be_asked_twice_is_asked_elsewhere_if_the_answer_does_not_come_whole(
    says: bytes,
) -> None:
    near, far = Near(), Far(says)
    async with listening(far) as peer:
        assert await near.ask(peer, "PUT", b"body") is False
        assert near.sent == []
        assert near.lost == [peer]
        # whoever is asked next hears the whole body
        assert (await near.receive())["body"] == b"body"
    near.relay.close()


async def test_what_may_not_be_asked_twice_is_not() -> None:
    near, far = Near(), Far(HEAD % 3)
    async with listening(far) as peer:
        with pytest.raises(NoAnswer):
            await near.ask(peer, "POST", b"body")
        assert len(far.asked) == 1
        assert near.lost == [peer]


async def test_what_was_not_asked_at_all_is_asked_elsewhere_whatever_it_is() -> None:
    near = Near()
    async with listening(Far(b"")) as peer:
        pass
    assert await near.ask(peer, "POST", b"x" * (MOST_KEPT + 1)) is False
    assert (await near.receive())["body"] == b"x" * (MOST_KEPT + 1)


async def test_a_long_answer_that_breaks_off_does_so_for_the_visitor() -> None:
    near, far = Near(), Far(HEAD % 1_000_000 + b"some")
    async with listening(far) as peer:
        assert await near.ask(peer, "GET") is True
        assert [message.get("body") for message in near.sent] == [None, b"some"]


@pytest.mark.parametrize(("says", "answered"), [(b"", False), (HEAD % 1_000_000 + b"some", True)])
async def test_nobody_waits_for_a_node_that_is_gone(says: bytes, *, answered: bool) -> None:
    near, far = Near(), Far(says, stays=True)
    async with listening(far) as peer, asyncio.timeout(60):
        asking = near.ask(peer, "GET")
        await far.was_asked.wait()
        while len(near.sent) < 2 * answered:  # noqa: ASYNC110
            await asyncio.sleep(0)
        near.presence.gone(peer)
        assert await asking is answered
        changing = near.ask(peer, "POST")
        await asyncio.sleep(0)
        near.presence.gone(peer)
        with pytest.raises(NoAnswer, match="not heard of any more"):
            await changing


async def test_a_visitor_who_leaves_and_a_worker_that_is_slow_lose_no_node() -> None:
    near, far = Near(first_byte=0.2), Far(b"", stays=True)
    async with listening(far) as peer, asyncio.timeout(60):
        with pytest.raises(NoAnswer) as late:
            await near.ask(peer, "GET")
        near.leaves.set()
        with pytest.raises(NoAnswer) as left:
            await near.ask(peer, "GET")
    assert (late.value.late, left.value.left) == (True, True)
    assert near.lost == []
