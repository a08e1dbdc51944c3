"""Cuts lines that are too long, without looking at any that is not."""

from __future__ import annotations

LONGEST = 1024 * 1024


class LineCap:
    """Lets at most `LONGEST` bytes of a line through, and says how many it left out."""

    def __init__(self) -> None:
        """At the start of a line."""
        self._length = 0
        self._left_out = 0

    def feed(self, data: bytes) -> bytes:
        """The next part. Parts are no longer than `LONGEST`, so only a part's first line can be too long."""
        end = data.find(b"\n")
        first = data if end < 0 else data[:end]
        if self._length + len(first) <= LONGEST and not self._left_out:
            newline = data.rfind(b"\n")
            self._length = self._length + len(data) if newline < 0 else len(data) - newline - 1
            return data
        kept = first[: max(LONGEST - self._length, 0)]
        self._left_out += len(first) - len(kept)
        self._length += len(kept)
        if end < 0:
            return kept
        marker = self.finish()
        self._length = 0
        return kept + marker + self.feed(data[end:])

    def finish(self) -> bytes:
        """What tells of the part that was left out of the present line."""
        if not self._left_out:
            return b""
        marker = b" [line cut: %d bytes left out]" % self._left_out
        self._left_out = 0
        return marker
