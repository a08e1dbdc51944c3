"""Connections that are open and idle, by address."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from kedge.workers.relay.connect import connect
from kedge.workers.relay.upstream import Upstream

if TYPE_CHECKING:
    import ssl

#: connections to one address that wait for a request
MOST_IDLE = 64
#: less than what most servers allow a silent connection
IDLE_SECONDS = 4.0


class Pool:
    """Gives out the connection that was used last: the others may rest and end."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """No connection yet. `tls` is for addresses that begin with `tls:`."""
        self._tls = tls
        #: the one that was used last is the last
        self._idle: dict[str, list[Upstream]] = {}

    def at_hand(self, address: str) -> Upstream | None:
        """An open connection to an address, if one is idle."""
        idle = self._idle.get(address)
        while idle:
            upstream = idle.pop()
            if not upstream.closed and monotonic() - upstream.idle_since < IDLE_SECONDS:
                return upstream
            upstream.close()
        return None

    async def take(self, address: str, *, fresh: bool = False) -> Upstream:
        """A connection to `HOST:PORT` or `unix:/path`; with `fresh` a new one. Raises `OSError`."""
        at_hand = None if fresh else self.at_hand(address)
        return at_hand or await connect(Upstream, address, self._tls)

    def give_back(self, address: str, upstream: Upstream) -> None:
        """Keep a connection for the next request, or end it."""
        if upstream.closed or not upstream.reusable:
            upstream.close()
            return
        idle = self._idle.get(address)
        if idle is None:
            idle = self._idle[address] = []
        upstream.idle_since = now = monotonic()
        idle.append(upstream)
        while len(idle) > MOST_IDLE or now - idle[0].idle_since >= IDLE_SECONDS:
            idle.pop(0).close()

    def forget(self, address: str) -> None:
        """Nobody listens there any more."""
        for upstream in self._idle.pop(address, []):
            upstream.close()

    def close(self) -> None:
        """End every idle connection."""
        for address in list(self._idle):
            self.forget(address)
