"""A FIFO through which a program's output comes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from kedge import wait_until_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

READ_BYTES = 64 * 1024


class Pipe:
    """Kedge's end. A program opens the other one by `path`, as often as it likes."""

    def __init__(self, path: Path) -> None:
        """Make it, readable by this user only."""
        self.path = path
        os.mkfifo(path, mode=0o600)
        self._read_end = -1
        #: as long as it is open the output has no end, whether or not the program has opened its own
        self._write_end: int | None = None
        try:
            self._read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._write_end = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self.close()
            path.unlink()
            raise

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what comes until `end` was called and everything was read."""
        # no transport: uvloop's closes a file's descriptor twice, and in between that may become another's
        read_end, self._read_end = self._read_end, -1
        try:
            while data := await _read(read_end):
                yield data
        finally:
            os.close(read_end)

    def end(self) -> None:
        """The program and all it has started have ended. Safe twice."""
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go, when nobody reads."""
        self.end()
        if self._read_end >= 0:
            with suppress(OSError):
                os.close(self._read_end)
            self._read_end = -1


async def _read(fd: int) -> bytes:
    """What is there, as soon as something is. Each call lets the event loop turn."""
    while True:
        await wait_until_ready(fd)
        with suppress(BlockingIOError):
            return os.read(fd, READ_BYTES)
