"""Links with a delay."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from kedge.testing.delay_proxy import DelayProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """Something that says what it hears; its address."""

    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*[task for task in tasks if task])


@asynccontextmanager
async def talk(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address.split(":"))
    yield reader, writer
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_what_is_said_comes_back_two_delays_later() -> None:
    async with (
        echo() as address,
        DelayProxy(address, delay=0.05) as proxy,
        talk(proxy.address) as (reader, writer),
    ):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            taken.append(time.perf_counter() - began)

        first, *later = taken
        assert min(later) >= 0.0995
        # the handshake takes a round trip too
        assert first >= 0.1985


async def test_order_and_bytes_stay_with_jitter_and_a_slow_reader() -> None:
    data = bytes(range(256)) * 40_000
    async with (
        echo() as address,
        DelayProxy(address, delay=0.001, jitter=0.005) as proxy,
        talk(proxy.address) as (reader, writer),
    ):
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data


async def test_a_cut_link_ends_connections_and_a_mended_one_takes_new_ones() -> None:
    async with echo() as address, DelayProxy(address, delay=0.001) as proxy:
        async with talk(proxy.address) as (reader, writer):
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            proxy.cut()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        async with talk(proxy.address) as (reader, _):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        proxy.mend()
        async with talk(proxy.address) as (reader, writer):
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"


async def test_a_connection_that_both_sides_have_ended_is_gone() -> None:
    async with echo() as address, DelayProxy(address, delay=0.001) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address.split(":"))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()
        assert await reader.read() == b""
        await proxy.empty()
        writer.close()
        await writer.wait_closed()


async def test_a_hushed_link_gives_no_sign_and_loses_nothing() -> None:
    async with (
        echo() as address,
        DelayProxy(address, delay=0.0) as proxy,
        talk(proxy.address) as (reader, writer),
    ):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.hush()
        writer.write(b"two")
        async with talk(proxy.address) as (late_reader, late_writer):
            late_writer.write(b"new")
            done, _ = await asyncio.wait(
                [
                    one := asyncio.ensure_future(reader.readexactly(3)),
                    two := asyncio.ensure_future(late_reader.readexactly(3)),
                ],
                timeout=0.1,
            )
            assert not done
            proxy.mend()
            assert await one == b"two"
            assert await two == b"new"
