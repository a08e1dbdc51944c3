"""The way of containers to the egress proxy, without an engine: loopback is the bridge."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from kedge_docker import way_out
from kedge_docker.way_out import WayOut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import pytest

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LOOPBACK = {"Driver": "bridge", "IPAM": {"Config": [{"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1"}]}}


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)


async def send_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"408")
    writer.write_eof()
    await reader.read()


@asynccontextmanager
async def leading(
    proxy: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A way out to such a proxy; yields its port."""
    ended: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.Event())
        end = ended[-1]
        try:
            await proxy(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            end.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way = WayOut(LOOPBACK)
    found = await way.lead({"P": f"http://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}"})
    try:
        yield int(found["P"].rpartition(":")[2])
    finally:
        await way.close()
        server.close()
        for end in ended:
            await asyncio.wait_for(end.wait(), 60)


@asynccontextmanager
async def connected(port: int, source: str = "127.0.0.1") -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def said(line: Line) -> bytes:
    """What comes back; nothing if the connection is ended."""
    reader, writer = line
    with suppress(ConnectionError):
        writer.write(b"hello")
        return await asyncio.wait_for(reader.read(100), 60)
    return b""


async def test_a_container_that_says_nothing_is_let_go_when_the_proxy_has_sent_it_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(way_out, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(way_out, "MOST_OF_ONE", 1)
    async with leading(send_away) as port, connected(port) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 60) == b"408"
        for _try in range(600):
            async with connected(port) as (again, _):
                with suppress(ConnectionError):
                    if await again.read():
                        break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("its place is not free again")


async def test_one_container_leaves_the_others_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_out, "MOST_OF_ONE", 2)
    async with leading(echo) as port, AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(connected(port)) for _ in range(3)]
        another = await stack.enter_async_context(connected(port, "127.0.0.2"))

        assert [await said(line) for line in [*lines, another]] == [b"hello", b"hello", b"", b"hello"]
