"""One end of a line between two connections."""

from __future__ import annotations

import asyncio
from typing import cast

#: bytes that lie here before the sender is made to wait
HIGH_WATER = 256 * 1024
#: how long one side may go on after the other has said all
HALF_OPEN_SECONDS = 5.0


class End(asyncio.Protocol):
    """One side of a tunnel: what comes in here goes out there, as fast as that side takes it."""

    def __init__(self) -> None:
        """Not connected yet."""
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self.said_all = False
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Say it at the other end."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """This side has said all it has to say; it may still listen."""
        self.said_all = True
        if self.other is not None and self.other.said_all:
            return False
        if (
            self.other is not None
            and self.other.transport is not None
            and self.other.transport.can_write_eof()
        ):
            self.other.transport.write_eof()
        # Whoever has closed its connection looks as if it still listened; the other side may wait for a word.
        asyncio.get_running_loop().call_later(HALF_OPEN_SECONDS, self._close)
        return True

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        """This side is slow to read: hear less from the other."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """This side is gone, and so the other goes."""
        if not self.gone.done():
            self.gone.set_result(None)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()
