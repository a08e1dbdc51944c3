"""Where in a log's files each chunk lies: one record of fixed size for each, read in place."""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = struct.Struct("<QQQIIII")
BATCH = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One chunk: its bytes in the log, and its frame in a segment."""

    offset: int
    time_ms: int
    position: int
    size: int
    frame_size: int
    segment: int

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.size

    def pack(self) -> bytes:
        """The record; its checksum tells a torn one."""
        body = RECORD.pack(
            self.offset, self.time_ms, self.position, self.size, self.frame_size, self.segment, 0
        )[:-4]
        return body + zlib.crc32(body).to_bytes(4, "little")


def unpack(record: bytes) -> Entry | None:
    """The entry of a record, or `None` if it is torn."""
    if zlib.crc32(record[:-4]) != int.from_bytes(record[-4:], "little"):
        return None
    offset, time_ms, position, size, frame_size, segment, _ = RECORD.unpack(record)
    return Entry(offset, time_ms, position, size, frame_size, segment)


def pread(source: int | bytes, count: int, position: int) -> bytes:
    """Bytes of an open file or of memory."""
    return (
        os.pread(source, count, position) if isinstance(source, int) else source[position : position + count]
    )


class Index:
    """The records of an index, from byte `start` on, in an open file or in memory."""

    def __init__(self, source: int | bytes, *, start: int = 0) -> None:
        """A descriptor stays the caller's; of its file nothing is kept in memory."""
        self._source = source
        self._start = start
        size = os.fstat(source).st_size if isinstance(source, int) else len(source)
        self.count = (size - start) // RECORD.size

    def entry(self, number: int) -> Entry:
        """Chunk `number`."""
        record = pread(self._source, RECORD.size, self._start + number * RECORD.size)
        entry = unpack(record)
        if entry is None:
            raise ValueError(f"record {number} is damaged")
        return entry

    def find(self, offset: int) -> int:
        """The number of the chunk that holds byte `offset`; `count` if it lies behind the last."""
        return bisect_right(range(self.count), offset, key=lambda number: self.entry(number).end)

    def find_from(self, offset: int) -> int:
        """The number of the first chunk that begins at byte `offset` or behind it, else `count`."""
        return bisect_left(range(self.count), offset, key=lambda number: self.entry(number).offset)

    def entries(self, first: int = 0, last: int | None = None) -> Iterator[Entry]:
        """Entries `first` to `last` (exclusive), read many at a time."""
        last = self.count if last is None else last
        for number in range(first, last, BATCH):
            count = min(BATCH, last - number)
            data = pread(self._source, count * RECORD.size, self._start + number * RECORD.size)
            for position in range(0, len(data) - RECORD.size + 1, RECORD.size):
                entry = unpack(data[position : position + RECORD.size])
                if entry is None:
                    raise ValueError(f"record {number + position // RECORD.size} is damaged")
                yield entry
