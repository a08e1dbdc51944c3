"""Reading from a connection, or not for now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Hearing:
    """Pauses and resumes a transport. To say the same twice does no harm, nor to say it after the end."""

    __slots__ = ("_transport", "over", "paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        """It is read from."""
        self._transport = transport
        self.paused = False
        #: nothing more comes
        self.over = False

    def less(self) -> None:
        """Read no more for now."""
        if not (self.paused or self.over):
            self.paused = True
            self._transport.pause_reading()

    def more(self) -> None:
        """Read on."""
        if self.paused and not self.over:
            self.paused = False
            self._transport.resume_reading()
