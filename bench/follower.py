"""A follower of a build's live log that costs next to nothing itself."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.client import Server


async def events(server: Server, build_uuid: str) -> AsyncIterator[tuple[float, str, bytes]]:
    """Yield (arrival, event, data) until the stream ends. Arrival is wall-clock seconds."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 24)
    path = f"{urlsplit(server.base).path}/builds/builds/{build_uuid}/logs"
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {server.token}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0], head
    try:
        while True:
            block = await reader.readuntil(b"\n\n")
            now = time.time()
            fields = dict(
                line.split(b": ", 1)
                for line in block.split(b"\n")
                if b": " in line and not line.startswith(b":")
            )
            name = fields.get(b"event", b"").decode()
            yield now, name, fields.get(b"data", b"")
            if name == "end":
                return
    finally:
        writer.close()


async def first_log(server: Server, build_uuid: str) -> float:
    """When the first piece of log arrived."""
    async for arrival, name, _ in events(server, build_uuid):
        if name == "log":
            return arrival
    raise RuntimeError("the log stayed empty")


async def stamped_delays(server: Server, build_uuid: str, marker: str) -> list[float]:
    """Milliseconds from print to arrival of lines `marker <seconds since 1970>`."""
    delays: list[float] = []
    async for arrival, name, data in events(server, build_uuid):
        if name == "log":
            lines = json.loads(data)["text"].splitlines()
            delays += [(arrival - float(line.split()[1])) * 1000 for line in lines if line.startswith(marker)]
    return delays
