"""Sealed logs in a blob store that all nodes share. The index, put last, is what makes a log count there."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing
from typing import TYPE_CHECKING

import zstandard

from kedge import BlobNotFound, LogChunk, StoreError
from kedge_disk.reader import BATCH_BYTES, LARGEST_CHUNK
from kedge_disk.sealed import index_path, read_extent
from kedge_disk.tail import Tail
from kedge_disk.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from kedge import BlobStore, LogExtent, LogKey
    from kedge_disk.index import Entry, Index

#: of indexes that are kept at hand
INDEX_BYTES = 8 * 1024 * 1024
#: what is fetched at once on the way back from a log's end
TAIL_BYTES = 256 * 1024
#: a writer does not wait longer for a store that is away
PATIENCE_SECONDS = 1.0


class Archive:
    """Logs that were moved to a blob store."""

    def __init__(self, blobs: BlobStore) -> None:
        """Use `blobs` once it is open."""
        self._blobs = blobs
        #: what is sealed never changes
        self._indexes: OrderedDict[LogKey, bytes] = OrderedDict()

    async def keep(self, key: LogKey, sealed: Path) -> None:
        """Store a sealed log; what is there already is left as it is."""
        try:
            await self._blobs.stat(_name(key, "idx"))
        except BlobNotFound:
            await self._blobs.put(_name(key, "zst"), sealed)
            await self._blobs.put(_name(key, "idx"), index_path(sealed))

    async def holds(self, key: LogKey) -> bool:
        """Whether the log is here; False if the store does not say so soon."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._load(key) is not None
        except (StoreError, TimeoutError):
            return False

    async def extent(self, key: LogKey) -> LogExtent | None:
        """How much there is of a log, or None."""
        data = await self._load(key)
        return None if data is None else read_extent(data)[0]

    async def read(self, key: LogKey, start: int, end: int | None) -> AsyncIterator[LogChunk]:
        """Yield the chunks that overlap `start` to `end`; only their bytes are fetched."""
        data = await self._load(key)
        if data is None:
            return
        extent, index = read_extent(data)
        end = extent.size if end is None else min(end, extent.size)
        numbers = range(index.find(start), index.find_from(end))
        if start >= end or not numbers:
            return
        entries = iter(enumerate(index.entries(numbers.start, numbers.stop), numbers.start))
        first, last = index.entry(numbers.start), index.entry(numbers.stop - 1)
        name, stop = _name(key, "zst"), last.position + last.frame_size
        async with aclosing(_closable(self._blobs.get(name, start=first.position, end=stop))) as parts:
            unpacker = _Unpacker(entries, first.position)
            async for part in parts:
                unpacker.add(part)
                while chunks := await in_thread(unpacker.take):
                    for chunk in chunks:
                        yield chunk

    async def tail_offset(self, key: LogKey, lines: int) -> int:
        """The offset at which the last `lines` lines begin."""
        data = await self._load(key)
        if data is None:
            return 0
        extent, index = read_extent(data)
        if lines <= 0:
            return extent.size
        tail = Tail(lines, extent.gap_end)
        stop = index.count
        while stop:
            group = _group_before(index, stop)
            stop -= len(group)
            for entry, text in reversed(await self._unpack(key, group)):
                found = tail.take(entry, text)
                if found is not None:
                    return found
        return extent.gap_end

    async def _unpack(self, key: LogKey, group: list[Entry]) -> list[tuple[Entry, bytes]]:
        start, end = group[0].position, group[-1].position + group[-1].frame_size
        parts = [part async for part in self._blobs.get(_name(key, "zst"), start=start, end=end)]
        return await in_thread(_unpack_all, b"".join(parts), group)

    async def delete(self, key: LogKey) -> None:
        """Remove a log."""
        self._indexes.pop(key, None)
        await self._blobs.delete(_name(key, "idx"))
        await self._blobs.delete(_name(key, "zst"))

    async def _load(self, key: LogKey) -> bytes | None:
        data = self._indexes.get(key)
        if data is None:
            try:
                data = b"".join([part async for part in self._blobs.get(_name(key, "idx"))])
            except BlobNotFound:
                return None
            self._indexes[key] = data
            while len(self._indexes) > 1 and sum(map(len, self._indexes.values())) > INDEX_BYTES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(key)
        return data


class _Unpacker:
    """Makes chunks of bytes that come in pieces of any size."""

    def __init__(self, entries: Iterator[tuple[int, Entry]], position: int) -> None:
        self._entries = entries
        self._next = next(entries, None)
        self._held = bytearray()
        self._position = position
        self._decompressor = zstandard.ZstdDecompressor()

    def add(self, part: bytes) -> None:
        self._held += part

    def take(self) -> list[LogChunk]:
        """The chunks that are whole, about a mebibyte of them; empty when more has to come."""
        chunks: list[LogChunk] = []
        size = used = 0
        while self._next is not None and size < BATCH_BYTES:
            number, entry = self._next
            begin = entry.position - self._position
            if begin + entry.frame_size > len(self._held):
                break
            used = begin + entry.frame_size
            frame = bytes(self._held[begin:used])
            data = self._decompressor.decompress(frame, max_output_size=LARGEST_CHUNK)
            chunks.append(LogChunk(number=number, offset=entry.offset, time_ms=entry.time_ms, data=data))
            size += entry.size
            self._next = next(self._entries, None)
        del self._held[:used]
        self._position += used
        return chunks


def _name(key: LogKey, suffix: str) -> str:
    return f"logs/{key.log_id[:2]}/{key}.{suffix}"


def _group_before(index: Index, stop: int) -> list[Entry]:
    group: list[Entry] = []
    size = 0
    while len(group) < stop and size < TAIL_BYTES:
        group.append(index.entry(stop - len(group) - 1))
        size += group[-1].frame_size
    return group[::-1]


def _unpack_all(data: bytes, group: list[Entry]) -> list[tuple[Entry, bytes]]:
    decompressor, base = zstandard.ZstdDecompressor(), group[0].position
    found = []
    for entry in group:
        frame = data[entry.position - base : entry.position - base + entry.frame_size]
        found.append((entry, decompressor.decompress(frame, max_output_size=LARGEST_CHUNK)))
    return found


async def _closable(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for part in parts:
        yield part
