"""A log that is being written: append-only segments of zstd frames, and their index.

The head is one segment, the tail many small ones, so that dropping the middle is removing files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import zstandard

from kedge import LogExtent, LogGap
from kedge_disk.index import RECORD, Entry, Index, unpack

if TYPE_CHECKING:
    from pathlib import Path

LEVEL = 3
TAIL_SEGMENT_BYTES = 8 * 1024 * 1024


def segment_path(folder: Path, segment: int) -> Path:
    """The file of a segment."""
    return folder / f"{segment:08}.zst"


class HotLog:
    """One log under way. Not to be used from two threads at once."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Open it, or go on with what is there; what a killed process left torn is cut off."""
        self.folder = folder
        self._half = max_bytes // 2
        folder.mkdir(parents=True, exist_ok=True)
        self._index_file = os.open(folder / "index", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._segment_file = -1
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self.size = self.next_number = 0
        self._segment = 0
        self._segment_start = 0
        self._position = 0
        #: start offsets of the tail's segments that are still there, by segment
        self._tail: dict[int, int] = {}
        self._head_end: int | None = None
        self._recover()
        self._extent = self._measure()

    def append(self, number: int, data: bytes, time_ms: int) -> LogExtent:
        """Add a chunk; the frame is written before the record that makes it count."""
        if number > self.next_number:
            raise LogGap(self.next_number)
        if number == self.next_number:
            self._roll(len(data))
            frame = self._compressor.compress(data)
            entry = Entry(self.size, time_ms, self._position, len(data), len(frame), self._segment)
            _write_whole(self._segment_file, frame, self._position)
            _write_whole(self._index_file, entry.pack(), self.next_number * RECORD.size)
            self._count(entry)
            self._drop_middle()
            self._extent = self._measure()
        return self._extent

    def extent(self) -> LogExtent:
        """How much there is; any thread may ask."""
        return self._extent

    def trim(self) -> None:
        """Cut off what an append that failed left behind the last frame."""
        os.ftruncate(self._segment_file, self._position)

    def _measure(self) -> LogExtent:
        start, end = self.gap()
        return LogExtent(
            size=self.size, next_number=self.next_number, sealed=False, gap_start=start, gap_end=end
        )

    def gap(self) -> tuple[int, int]:
        """What was dropped between head and tail."""
        if self._head_end is None or not self._tail:
            return 0, 0
        first = min(self._tail.values())
        return (self._head_end, first) if first > self._head_end else (0, 0)

    def segments(self) -> list[int]:
        """The segments that are there, in order."""
        return [0, *sorted(self._tail)]

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._index_file)
        if self._segment_file >= 0:
            os.close(self._segment_file)

    def _recover(self) -> None:
        records = os.fstat(self._index_file).st_size // RECORD.size
        while records:
            entry = unpack(os.pread(self._index_file, RECORD.size, (records - 1) * RECORD.size))
            if entry is not None and self._is_whole(entry):
                break
            records -= 1
        os.ftruncate(self._index_file, records * RECORD.size)
        for entry in Index(self._index_file).entries():
            self._count(entry)
        self._tail = {
            segment: start
            for segment, start in self._tail.items()
            if segment_path(self.folder, segment).exists()
        }
        self._open_segment()

    def _is_whole(self, entry: Entry) -> bool:
        try:
            return (
                segment_path(self.folder, entry.segment).stat().st_size >= entry.position + entry.frame_size
            )
        except FileNotFoundError:
            return False

    def _count(self, entry: Entry) -> None:
        if entry.segment != self._segment:
            self._segment, self._segment_start = entry.segment, entry.offset
            if self._head_end is None:
                self._head_end = entry.offset
        if entry.segment:
            self._tail.setdefault(entry.segment, entry.offset)
        self._position = entry.position + entry.frame_size
        self.size = entry.end
        self.next_number += 1

    def _roll(self, coming: int) -> None:
        limit = min(TAIL_SEGMENT_BYTES, self._half // 8) if self._segment else self._half
        if self.size == self._segment_start or self.size - self._segment_start + coming <= limit:
            return
        if self._head_end is None:
            self._head_end = self.size
        self._segment += 1
        self._segment_start, self._position = self.size, 0
        self._tail[self._segment] = self.size
        self._open_segment()

    def _open_segment(self) -> None:
        if self._segment_file >= 0:
            os.close(self._segment_file)
        path = segment_path(self.folder, self._segment)
        self._segment_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.trim()

    def _drop_middle(self) -> None:
        ordered = sorted(self._tail)
        while len(ordered) > 1 and self.size - self._tail[ordered[0]] > self._half:
            oldest = ordered.pop(0)
            segment_path(self.folder, oldest).unlink(missing_ok=True)
            del self._tail[oldest]


def _write_whole(descriptor: int, data: bytes, position: int) -> None:
    written = 0
    while written < len(data):  # a disk that fills up takes a part and fails only at the next
        written += os.pwrite(descriptor, data[written:], position + written)
