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

LOG = b"event: log\n"


async def blocks(server: Server, build_uuid: str) -> AsyncIterator[tuple[float, bytes]]:
    """Yield (arrival, event as sent) until the stream ends. Arrival is wall-clock seconds."""
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
            block = (await reader.readuntil(b"\n\n")).rpartition(b"\r\n")[2]
            yield time.time(), block
            if block.startswith(b"event: end"):
                return
    finally:
        writer.close()


async def first_log(server: Server, build_uuid: str) -> float:
    """When the first piece of log arrived."""
    async for arrival, block in blocks(server, build_uuid):
        if block.startswith(LOG):
            return arrival
    raise RuntimeError("the log stayed empty")


class Stamps:
    """Finds lines `marker <seconds since 1970>`, reading each event once however many followers get it."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._rest = ""
        self._missing = 0
        self._all_follow = 0.0
        self._found: dict[bytes, list[float]] = {}

    async def delays(self, server: Server, build_uuid: str, followers: int) -> list[float]:
        """Milliseconds from print to arrival at each of so many followers, once all of them follow."""
        self._missing = followers
        each = await asyncio.gather(*(self._follow(server, build_uuid) for _ in range(followers)))
        return [
            (arrival - stamp) * 1000 for one in each for arrival, stamp in one if stamp > self._all_follow
        ]

    async def _follow(self, server: Server, build_uuid: str) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        follows = False
        async for arrival, block in blocks(server, build_uuid):
            if not follows:
                follows = True
                self._missing -= 1
                self._all_follow = arrival
            if block.startswith(LOG):
                found += [(arrival, stamp) for stamp in self._stamps(block)]
        assert not self._missing, "the build was over before all followed it"
        return found

    def _stamps(self, block: bytes) -> list[float]:
        _, cursor, data = block.split(b"\n", 2)
        if cursor not in self._found:
            text = self._rest + json.loads(data.removeprefix(b"data: "))["text"]
            *lines, self._rest = text.split("\n")
            self._found[cursor] = [float(line.split()[1]) for line in lines if line.startswith(self._marker)]
        return self._found[cursor]
