"""A connection over which an instance sends plain requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.http.connection import Connection

if TYPE_CHECKING:
    import asyncio

    from kedge.http.server import Server
    from kedge.workers.egress.guests import Guests


class Plain(Connection):
    """One of the guests while it is open."""

    __slots__ = ("_guests",)

    def __init__(self, server: Server, guests: Guests) -> None:
        """Not connected yet."""
        super().__init__(server)
        self._guests = guests

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """An instance has come, or somebody else."""
        super().connection_made(transport)
        self._guests.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._guests.went(self)
        super().connection_lost(exc)
