"""Reads chunks of a log, hot or sealed, from any offset, without touching what lies before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import zstandard

from kedge import LogChunk
from kedge_disk.hot import segment_path
from kedge_disk.index import Index
from kedge_disk.sealed import index_path, read_extent

if TYPE_CHECKING:
    from pathlib import Path

    from kedge_disk.index import Entry

#: what one call unpacks at most, unless a single chunk is larger
BATCH_BYTES = 1024 * 1024
LARGEST_CHUNK = 64 * 1024 * 1024


class Reader:
    """One pass over a log. Its open files keep what it reads alive, whatever is moved or removed."""

    def __init__(self, folder: Path, sealed: Path) -> None:
        """Look at the sealed log if there is one, else at the hot one. `FileNotFoundError` for neither."""
        self._files: dict[int, int] = {}
        self._decompressor = zstandard.ZstdDecompressor()
        try:
            self._descriptor = os.open(index_path(sealed), os.O_RDONLY | os.O_CLOEXEC)
            self.is_sealed = True
        except FileNotFoundError:
            self._descriptor = os.open(folder / "index", os.O_RDONLY | os.O_CLOEXEC)
            self.is_sealed = False
        self._folder = folder
        self._sealed = sealed
        self._next: int | None = None
        #: segments of the middle that are no more
        self._dropped: set[int] = set()

    def look(self) -> Index:
        """The index as it is now; a hot one grows."""
        return read_extent(self._descriptor)[1] if self.is_sealed else Index(self._descriptor)

    def read(self, start: int, end: int) -> list[LogChunk]:
        """The next chunks that overlap `start` to `end`; empty when there are no more.

        Raises `FileNotFoundError` if the log was sealed meanwhile and its segments are gone.
        """
        index = self.look()
        first = index.find(start) if self._next is None else self._next
        chunks: list[LogChunk] = []
        size = 0
        number = first
        for number, entry in enumerate(index.entries(first), first):
            if entry.offset >= end or size >= BATCH_BYTES:
                break
            chunk = self._chunk(number, entry)
            if chunk is not None:
                chunks.append(chunk)
                size += entry.size
        else:
            number = index.count
        self._next = number
        return chunks

    def unpack(self, entry: Entry) -> bytes:
        """The bytes of one chunk."""
        data = os.pread(self._file(entry.segment), entry.frame_size, entry.position)
        return self._decompressor.decompress(data, max_output_size=LARGEST_CHUNK)

    def _chunk(self, number: int, entry: Entry) -> LogChunk | None:
        if entry.segment in self._dropped:
            return None
        try:
            data = self.unpack(entry)
        except FileNotFoundError:
            # a sealed log may have gone on to the archive: what tells then is that the hot one is no more
            if self.is_sealed or index_path(self._sealed).exists() or not self._folder.exists():
                raise
            self._dropped.add(entry.segment)
            return None
        return LogChunk(number=number, offset=entry.offset, time_ms=entry.time_ms, data=data)

    def _file(self, segment: int) -> int:
        if segment not in self._files:
            path = self._sealed if self.is_sealed else segment_path(self._folder, segment)
            while len(self._files) > 2:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[segment] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._files[segment]

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._descriptor)
        for descriptor in self._files.values():
            os.close(descriptor)
