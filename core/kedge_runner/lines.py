"""Cuts lines that are too long, without looking at any that is not."""

from __future__ import annotations

LONGEST = 1024 * 1024
#: a character that begins within a line's limit may end after it
MORE = 3


class LineCap:
    """Lets at most `LONGEST` bytes of a line through, and says how many it left out.

    A carriage return ends a line as well: a progress bar may go on for as long as it likes.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        """At the start of a line."""
        self._longest = longest
        self._length = 0
        self._left_out = 0

    def feed(self, data: bytes) -> bytes:
        """The next part."""
        parts = []
        while len(data) > self._longest:
            part = whole_characters(data[: self._longest]) or data[: self._longest]
            parts.append(self._feed(part))
            data = data[len(part) :]
        return b"".join([*parts, self._feed(data)]) if parts else self._feed(data)

    def finish(self) -> bytes:
        """What tells of the part that was left out of the present line."""
        if not self._left_out:
            return b""
        marker = b" ... [line cut: %d bytes left out]" % self._left_out
        self._left_out = 0
        return marker

    def _feed(self, data: bytes) -> bytes:
        """A part no longer than `LONGEST`, so that only its first line can be too long."""
        end = _first_end(data)
        first = data if end < 0 else data[:end]
        if self._length + len(first) <= self._longest and not self._left_out:
            last = max(data.rfind(b"\n"), data.rfind(b"\r"))
            self._length = self._length + len(data) if last < 0 else len(data) - last - 1
            return data
        kept = b"" if self._left_out else self._within(first)
        self._left_out += len(first) - len(kept)
        self._length += len(kept)
        if end < 0:
            return kept
        marker = self.finish()
        self._length = 0
        return kept + marker + self._feed(data[end:])

    def _within(self, data: bytes) -> bytes:
        """As much as the line may still hold: wherever the parts were cut, the same bytes of a line."""
        end = max(self._longest - self._length, 0)
        most = self._longest + MORE - self._length
        while end < min(len(data), most) and 0x80 <= data[end] < 0xC0:
            end += 1
        return data[:end]


def _first_end(data: bytes) -> int:
    newline = data.find(b"\n")
    returned = data.find(b"\r", 0, newline if newline >= 0 else len(data))
    return returned if returned >= 0 else newline


def whole_characters(data: bytes) -> bytes:
    """Without the beginning of a UTF-8 character that is not all there."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if back < needed else data
        if byte < 0x80:
            return data
    return data
