"""A visitor who says no more: he may listen still, or he has gone. Only what he is sent tells."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from kedge.http.answering import CONTINUE

if TYPE_CHECKING:
    from collections.abc import Sequence

#: seconds after which it is looked whether his machine has refused what he was sent
LOOKS = (0.05, 0.25, 1.0, 5.0)
#: the state of a connection that was reset, as TCP_INFO tells it
CLOSED = 7


class Farewell:
    """Finds out which it is, and ends the connection of one who has gone."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Of a connection from which nothing more is heard, and on which no answer has begun."""
        self._transport = transport

    def ask(self) -> None:
        """Send what any visitor reads over, and look what comes of it."""
        self._transport.write(CONTINUE)
        self._look_later(LOOKS)

    def _look_later(self, looks: Sequence[float]) -> None:
        if looks:
            asyncio.get_running_loop().call_later(looks[0], self._look, looks[1:])

    def _look(self, later: Sequence[float]) -> None:
        if self._transport.is_closing():
            return
        if _is_reset(self._transport):
            self._transport.abort()
        else:
            self._look_later(later)


def _is_reset(transport: asyncio.Transport) -> bool:
    """Whether the other side's machine knows the connection no more; false if that is not told."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        told: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return True
    return told[0] == CLOSED
