"""A ring of bytes in a file of bounded size."""

from __future__ import annotations

import os


class Ring:
    """First in, first out. The file is made with the first byte."""

    def __init__(self, path: str, capacity: int) -> None:
        """Make nothing yet."""
        self._path = path
        self._capacity = capacity
        self._file = -1
        self._written = self._read = 0

    def __len__(self) -> int:
        """How many bytes are in it."""
        return self._written - self._read

    @property
    def room(self) -> int:
        """How many more bytes fit."""
        return self._capacity - len(self)

    def put(self, data: bytes) -> int:
        """Add as many bytes as fit; how many these were. Raises `OSError`, and then has added none."""
        if self._file < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self._path, flags, 0o600)
        if not len(self):
            self._written = self._read = 0
        data = data[: self.room]
        position = self._written % self._capacity
        first = data[: self._capacity - position]
        _write_all(self._file, first, position)
        _write_all(self._file, data[len(first) :], 0)
        self._written += len(data)
        return len(data)

    def get(self, size: int) -> bytes:
        """Remove and return the next bytes, at most `size`, at least one if there are any."""
        if not len(self):
            return b""
        position = self._read % self._capacity
        data = os.pread(self._file, min(size, len(self), self._capacity - position), position)
        self._read += len(data)
        return data

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write_all(file: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, position)
        view, position = view[done:], position + done
