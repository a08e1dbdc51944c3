"""Sends answers: small contents from memory, large ones straight from the blob store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from kedge.workers.lru import Lru
from kedge.workers.manifest import file_key
from kedge.workers.static import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from kedge.contracts.blobs import BlobStore
    from kedge.workers.static import Part, Reply

log = structlog.get_logger("gateway")

#: bytes of the largest content that is kept in memory, and of all of them together
SMALL = 64 * 1024
MEMORY = 16 * 1024 * 1024

UNREADABLE = plain(500, "This file cannot be read just now. Try again soon.\n")


class Contents:
    """The stored contents of all versions."""

    def __init__(self, blobs: BlobStore) -> None:
        """Nothing is in memory yet."""
        self._blobs = blobs
        self._small: Lru[str, bytes] = Lru(MEMORY)

    async def send(self, account_id: str, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an answer; its body not if the method is HEAD, and no further once the client has gone."""
        part = reply.part
        if scope["method"] == "HEAD":
            await _send_whole(reply, b"", send)
        elif part is None:
            await _send_whole(reply, reply.body, send)
        elif part.file.size <= SMALL:
            content = self._small.get(part.file.sha256) or await self._load(account_id, part)
            if content is None:
                await _send_whole(UNREADABLE, UNREADABLE.body, send)
            else:
                await _send_whole(reply, content[part.start : part.end], send)
        else:
            await self._stream(account_id, reply, part, receive, send)

    async def _load(self, account_id: str, part: Part) -> bytes | None:
        key = file_key(account_id, part.file.sha256)
        try:
            content = b"".join([chunk async for chunk in self._blobs.get(key)])
        except Exception:
            log.exception("a deployed file cannot be read", key=key)
            return None
        self._small.put(part.file.sha256, content, cost=len(content))
        return content

    async def _stream(self, account_id: str, reply: Reply, part: Part, receive: Receive, send: Send) -> None:
        key = file_key(account_id, part.file.sha256)
        async with _closing(self._blobs.get(key, start=part.start, end=part.end)) as chunks:
            try:
                first = await anext(chunks)
            except Exception:
                log.exception("a deployed file cannot be read", key=key)
                await _send_whole(UNREADABLE, UNREADABLE.body, send)
                return
            await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            await _send_rest(chunks, receive, send)


async def _send_whole(reply: Reply, body: bytes, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": body})


async def _send_rest(chunks: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    gone = asyncio.create_task(_wait_until_gone(receive))
    try:
        async for chunk in chunks:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Let go of the blob at once, also when it is not read to its end."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
