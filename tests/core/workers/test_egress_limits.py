"""What the proxy of instances does about those that ask for too much, or for nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.core.workers.test_egress import back_end, client, egress

from kedge.workers.egress import guests, proxy, resolver
from kedge.workers.egress.guests import Guests
from kedge.workers.egress.targets import Targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.workers.egress.proxy import EgressProxy

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(to: EgressProxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(*to.address.split(":"))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def told(reader: asyncio.StreamReader) -> bytes:
    """All that is said until the connection is over."""
    heard = b""
    with suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(2**16), 60):
            heard += data
    return heard


async def line(to: EgressProxy, line: Line, instance_id: str) -> bytes:
    """The first line of what is answered to a CONNECT."""
    reader, writer = line
    who = httpx.BasicAuth(instance_id, to.ledger.admit(instance_id))._auth_header
    writer.write(f"CONNECT data.test:80 HTTP/1.1\r\nProxy-Authorization: {who}\r\n\r\n".encode())
    return await reader.readline()


@pytest.mark.parametrize(
    "first", [b"GET http://data.test/ HTTP/1.1\r\n", b"CONNECT data.test:80 HTTP/1.1\r\n"]
)
async def test_a_head_without_an_end_is_refused_before_anybody_asked_for_credentials(first: bytes) -> None:
    async with egress({}) as door, connected(door) as (reader, writer):
        writer.write(first)
        header = b"x-long: " + b"a" * 1000 + b"\r\n"
        with suppress(ConnectionError):
            for _ in range(2000):
                writer.write(header)
                await writer.drain()
                if reader.at_eof():
                    break

        assert (await told(reader)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("said", [b"", b"CONNECT ", b"GET http://data.test/ HTTP/1.1\r\nx"])
async def test_whoever_does_not_say_what_he_wants_is_sent_away(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "LIMITS", replace(proxy.LIMITS, head_within=0.1))
    async with egress({}) as door, connected(door) as (reader, writer):
        writer.write(said)

        assert (await told(reader)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("said", [b"", b"CONNECT ", b"GET "])
async def test_strangers_keep_no_instance_out(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many the oldest are ended, whatever they have begun to say."""
    monkeypatch.setattr(guests, "MOST_STRANGERS", 4)
    async with back_end() as address, egress({"data.test:80": address}) as door, AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(connected(door)) for _ in range(8)]
        for _, writer in strangers:
            writer.write(said)

        async with client(door) as asking:
            assert (await asking.get("http://data.test/")).status_code == 200
        for reader, _ in strangers[:4]:
            assert await told(reader) == b""


async def test_an_instance_has_so_many_connections_and_leaves_the_others_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guests, "MOST_OF_ONE", 2)
    async with back_end() as address, egress({"data.test:80": address}) as door, AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(connected(door)) for _ in range(4)]
        answers = [await line(door, one, "i1") for one in lines[:3]]
        async with client(door) as asking:
            crowded = await asking.get("http://data.test/")

        assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"503"]
        assert (crowded.status_code, "end some" in crowded.text) == (503, True)
        assert (await line(door, lines[3], "i2")).split()[1] == b"200"


async def test_all_instances_together_have_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "MOST", 2)
    async with back_end() as address, egress({"data.test:80": address}) as door, AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(connected(door)) for _ in range(3)]

        answers = [await line(door, one, f"i{number}") for number, one in enumerate(lines)]

        assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"503"]


class Nobody:
    """A connection of which nothing is but whether it was ended."""

    def __init__(self) -> None:
        self.ended = 0

    def break_off(self) -> None:
        self.ended += 1


def test_what_has_gone_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "MOST_OF_ONE", 1)
    monkeypatch.setattr(guests, "MOST_STRANGERS", 1)
    counted, connections = Guests(), [Nobody() for _ in range(50)]
    for one in connections:
        counted.came(one)
        assert counted.know(one, "i1")
        assert counted.know(one, "i1")
        counted.went(one)
        counted.went(one)
    first, second = Nobody(), Nobody()
    counted.came(first)
    counted.came(second)

    assert [one.ended for one in [*connections, first, second]] == [0] * 50 + [1, 0]


async def test_names_that_nobody_answers_for_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who asks for many has few looked up at a time, and none of the threads that all the node uses."""
    asked, answered = threading.Semaphore(0), threading.Event()

    def look_up(host: str, *_: object, **__: object) -> Any:
        if host == "slow.test":
            asked.release()
            answered.wait(60)
        return [(0, 0, 0, "", ("198.51.100.7", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    targets = Targets()
    slow = [asyncio.create_task(targets.resolve("slow.test", 80, "i1")) for _ in range(100)]
    try:
        for _ in range(resolver.AT_ONCE):
            assert await asyncio.to_thread(asked.acquire, timeout=60)

        async with asyncio.timeout(60):
            assert await targets.resolve("quick.test", 80, "i2") == "198.51.100.7:80"
            assert await targets.resolve("198.51.100.8", 80, "i1") == "198.51.100.8:80"
        assert not asked.acquire(blocking=False)
    finally:
        answered.set()
    assert {*await asyncio.gather(*slow)} == {"198.51.100.7:80"}
    targets.close()


async def test_what_is_no_name_is_told_so() -> None:
    async with egress({}) as door, connected(door) as (reader, writer), client(door) as asking:
        who = httpx.BasicAuth("i1", door.ledger.admit("i1"))._auth_header
        writer.write(f"CONNECT {'a' * 70}.test:80 HTTP/1.1\r\nProxy-Authorization: {who}\r\n\r\n".encode())

        assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 502 ")
        assert (await asking.get(f"http://{'a' * 70}.test/")).status_code == 502
