"""Finds where the last lines of a log begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge_disk.index import Entry


class Tail:
    """Counts line ends from the back, chunk by chunk."""

    def __init__(self, lines: int, lowest: int) -> None:
        """Look for the last `lines` lines, no further back than offset `lowest`."""
        self._wanted = lines
        self._lowest = lowest
        self._is_last = True

    def take(self, entry: Entry, data: bytes) -> int | None:
        """Take in the chunk before those that were taken; the offset, once it is known."""
        if entry.end <= self._lowest:
            return self._lowest
        if self._is_last and data:
            self._is_last = False
            self._wanted += data.endswith(b"\n")
        ends = data.count(b"\n")
        if ends < self._wanted:
            self._wanted -= ends
            return None
        position = len(data)
        for _ in range(self._wanted):
            position = data.rindex(b"\n", 0, position)
        return entry.offset + position + 1
