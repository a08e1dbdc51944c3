"""A log that is final: one file of concatenated zstd frames, which any zstd reads, and an index beside it."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from kedge import LogExtent
from kedge_disk.hot import segment_path
from kedge_disk.index import Entry, Index, pread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kedge import HotFrame
    from kedge_disk.hot import HotLog

HEADER = struct.Struct("<8sQQQQ")
MAGIC = b"kedgelog"


def seal(hot: HotLog, target: Path) -> LogExtent:
    """Make the sealed files from a hot log. The index, moved in last, is what makes it sealed."""
    extent = replace(hot.extent(), sealed=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    hot.trim()
    segments = hot.segments()
    if len(segments) == 1:
        os.link(segment_path(hot.folder, 0), target)
    else:
        _concatenate([segment_path(hot.folder, segment) for segment in segments], target)
    _write_index(hot, segments, extent, index_path(target))
    return extent


class SealedWriter:
    """Writes a sealed log of frames that lie elsewhere."""

    def __init__(self, target: Path) -> None:
        """Begin `target` anew."""
        self._index_path = index_path(target)
        self._file = target.open("wb")
        self._records: list[bytes] = []
        self._position = 0

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        self._file.close()

    def add(self, frames: Sequence[HotFrame]) -> None:
        """The next frames of the log."""
        for one in frames:
            self._file.write(one.frame)
            entry = Entry(one.offset, one.time_ms, self._position, one.size, len(one.frame), 0)
            self._records.append(entry.pack())
            self._position += len(one.frame)

    def finish(self, extent: LogExtent) -> None:
        """Write the index, which is what makes it sealed."""
        self._file.flush()
        self._index_path.write_bytes(_header(extent) + b"".join(self._records))


def index_path(target: Path) -> Path:
    """The index of a sealed log."""
    return target.with_suffix(".idx")


def read_extent(source: int | bytes) -> tuple[LogExtent, Index]:
    """The extent and the records of a sealed index, in an open file or in memory."""
    magic, size, number, start, end = HEADER.unpack(pread(source, HEADER.size, 0))
    if magic != MAGIC:
        raise ValueError("the index of the log is damaged")
    extent = LogExtent(size=size, next_number=number, sealed=True, gap_start=start, gap_end=end)
    return extent, Index(source, start=HEADER.size)


def _concatenate(sources: list[Path], target: Path) -> None:
    part = target.with_suffix(".part")
    with part.open("wb") as whole:
        for source in sources:
            with source.open("rb") as file:
                left = os.fstat(file.fileno()).st_size
                while left:
                    left -= os.sendfile(whole.fileno(), file.fileno(), None, left)
    part.replace(target)


def _write_index(hot: HotLog, segments: list[int], extent: LogExtent, target: Path) -> None:
    bases, base = {}, 0
    for segment in segments:
        bases[segment] = base
        base += segment_path(hot.folder, segment).stat().st_size
    part = target.with_suffix(".part-idx")
    source = os.open(hot.folder / "index", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with part.open("wb") as file:
            file.write(_header(extent))
            for entry in Index(source).entries():
                if entry.segment in bases:
                    position = bases[entry.segment] + entry.position
                    file.write(replace(entry, position=position, segment=0).pack())
    finally:
        os.close(source)
    part.replace(target)


def _header(extent: LogExtent) -> bytes:
    return HEADER.pack(MAGIC, extent.size, extent.next_number, extent.gap_start, extent.gap_end)
