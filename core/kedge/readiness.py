"""Waits for descriptors on the event loop, without transports."""

from __future__ import annotations

import asyncio


async def wait_until_ready(fd: int, *, writing: bool = False) -> None:
    """Return once a non-blocking descriptor can be read, or written. One waits for each way at a time."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(fd, _resolve, ready)
    try:
        await ready
    finally:
        remove(fd)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
