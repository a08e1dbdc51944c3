"""A log as pages of lines and as one long text."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.contracts.log_store import LogKey
from kedge.logs.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.contracts.log_store import LogChunk, LogExtent
    from kedge.logs.logs import Logs

PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Whole lines with the second they were printed in, and where the next page begins."""

    lines: list[tuple[int, str]]
    cursor: str
    #: whether there is more to be had now
    truncated: bool


async def read_page(logs: Logs, log_id: str, cursor: Cursor | None) -> LogPage:
    """The lines from a cursor on, at most a mebibyte of them.

    While it grows, a line that has not ended yet is left for the next page.
    """
    state = await logs.state(log_id)
    at = cursor or Cursor(part=state.part, offset=0)
    key = LogKey(log_id=log_id, part=at.part)
    extent = await logs.store.extent(key)
    start = gap_end(extent, at.offset)
    chunks, size = await _collect(logs, key, start)
    final = extent.sealed and start + size >= extent.size
    lines, used = await asyncio.to_thread(_split, chunks, final=final)
    reached = start + used
    more = reached < extent.size if extent.sealed else size >= PAGE_BYTES
    if not more and extent.sealed and at.part < state.part:
        return LogPage(lines=lines, cursor=str(Cursor(part=at.part + 1, offset=0)), truncated=True)
    return LogPage(lines=lines, cursor=str(Cursor(part=at.part, offset=reached)), truncated=more)


async def _collect(logs: Logs, key: LogKey, start: int) -> tuple[list[tuple[int, bytes]], int]:
    chunks: list[tuple[int, bytes]] = []
    size = 0
    async for chunk in logs.store.read(key, start=start):
        if chunk.offset > start + size:
            break
        data = chunk.data[start + size - chunk.offset :][: PAGE_BYTES - size]
        chunks.append((chunk.time_ms // 1000, data))
        size += len(data)
        if size >= PAGE_BYTES:
            break
    return chunks, size


def _split(chunks: list[tuple[int, bytes]], *, final: bool) -> tuple[list[tuple[int, str]], int]:
    """The lines of adjoining chunks, and how many bytes they take up."""
    lines: list[tuple[int, str]] = []
    used = 0
    rest = b""
    for second, data in chunks:
        parts = (rest + data).split(b"\n")
        rest = parts.pop()
        lines += [(second, part.decode("utf-8", "replace").removesuffix("\r")) for part in parts]
    used = sum(len(data) for _, data in chunks) - len(rest)
    if rest and (final or not lines):
        lines.append((chunks[-1][0], rest.decode("utf-8", "replace")))
        used += len(rest)
    return lines, used


def gap_end(extent: LogExtent, offset: int) -> int:
    """`offset`, or the end of the dropped part if it lies within."""
    return extent.gap_end if extent.gap_start <= offset < extent.gap_end else offset


@dataclass(frozen=True, kw_only=True)
class LogText:
    """A log as one text: head, a marker where something was dropped, tail."""

    key: LogKey
    extent: LogExtent

    @property
    def marker(self) -> bytes:
        """What stands in the place of a dropped part."""
        dropped = self.extent.gap_end - self.extent.gap_start
        return b"\n[kedge: %d bytes left out here]\n" % dropped if dropped else b""

    @property
    def size(self) -> int:
        """How long the text is."""
        return self.extent.size - (self.extent.gap_end - self.extent.gap_start) + len(self.marker)

    async def read(self, logs: Logs, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes `start` to `end` of the text."""
        head, tail = self.extent.gap_start, self.extent.gap_start + len(self.marker)
        if not self.marker:
            head, tail = self.extent.size, self.extent.size
        if start < head:
            async for data in _read(logs, self.key, start, min(end, head)):
                yield data
        if start < tail and end > head:
            yield self.marker[max(start - head, 0) : end - head]
        if end > tail:
            shift = self.extent.gap_end - tail
            async for data in _read(logs, self.key, max(start, tail) + shift, end + shift):
                yield data


async def _read(logs: Logs, key: LogKey, start: int, end: int) -> AsyncIterator[bytes]:
    chunks = logs.store.read(key, start=start, end=end)
    pending = asyncio.ensure_future(anext(chunks, None))
    try:
        while (chunk := await pending) is not None:
            # The next chunk is unpacked while this one is on its way to the reader.
            pending = asyncio.ensure_future(anext(chunks, None))
            yield _trim(chunk, start, end)
    finally:
        pending.cancel()


def _trim(chunk: LogChunk, start: int, end: int) -> bytes:
    if chunk.offset >= start and chunk.offset + len(chunk.data) <= end:
        return chunk.data
    return chunk.data[max(start - chunk.offset, 0) : end - chunk.offset]
