"""A bounded queue of bytes on disk: what was printed and is not yet acknowledged."""

from __future__ import annotations

import os


class Spool:
    """A ring in a file. `written` and `acknowledged` are offsets in all that ever went through."""

    def __init__(self, path: str, capacity: int) -> None:
        """`capacity` bytes can wait at most."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._capacity = capacity
        self.written = 0
        self.acknowledged = 0

    @property
    def room(self) -> int:
        """How many bytes still fit."""
        return self._capacity - (self.written - self.acknowledged)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes; the caller has made sure that they fit."""
        position = self.written % self._capacity
        first = min(len(data), self._capacity - position)
        view = memoryview(data)
        os.pwrite(self._file, view[:first], position)
        if first < len(data):
            os.pwrite(self._file, view[first:], 0)
        self.written += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that were written and not acknowledged."""
        position = offset % self._capacity
        data = os.pread(self._file, min(size, self._capacity - position), position)
        if len(data) < size:
            data += os.pread(self._file, size - len(data), 0)
        return data

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
