"""Whether a visitor takes what he is sent."""

from __future__ import annotations

import array
import fcntl
import math
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

#: bytes that have to go either way before the time for more of them begins anew
LEAST = 1024


class Uptake:
    """Of one connection. Nothing is kept of it but a number, and nothing asked until time is up."""

    __slots__ = ("_before", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        """Nothing was seen yet."""
        self._transport = transport
        self._before = math.inf

    def goes_on(self) -> bool:
        """Whether something is left to take, and enough of it was taken since this was asked before."""
        unsent = self._transport.get_write_buffer_size() + self._in_the_kernel()
        before, self._before = self._before, unsent
        return 0 < unsent <= before - LEAST

    def begin_anew(self) -> None:
        """What is left was written just now."""
        self._before = math.inf

    def _in_the_kernel(self) -> int:
        """Bytes of which the visitor's machine has not said that it has them; 0 where that cannot be told."""
        socket, size = self._transport.get_extra_info("socket"), array.array("i", [0])
        if socket is not None:
            with suppress(OSError, ValueError):
                fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, size)
        return size[0]
