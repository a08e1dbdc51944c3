"""Connections that are open and idle, by address."""

from __future__ import annotations

import time
from collections import OrderedDict

from kedge.workers.relay.connect import connect
from kedge.workers.relay.upstream import Upstream

#: connections to one address that wait for a request
MOST_IDLE = 64
#: less than what most servers allow a silent connection
IDLE_SECONDS = 4.0


class Pool:
    """Gives out the connection that was used last: the others may rest and end."""

    def __init__(self) -> None:
        """No connection yet."""
        self._idle: dict[str, OrderedDict[Upstream, float]] = {}

    async def take(self, address: str, *, fresh: bool = False) -> Upstream:
        """A connection to `HOST:PORT` or `unix:/path`; with `fresh` a new one. Raises `OSError`."""
        idle = self._idle.get(address)
        while idle and not fresh:
            upstream, since = idle.popitem()
            if not upstream.closed and time.monotonic() - since < IDLE_SECONDS:
                return upstream
            upstream.close()
        return await connect(Upstream, address)

    def give_back(self, address: str, upstream: Upstream) -> None:
        """Keep a connection for the next request, or end it."""
        if upstream.closed or not upstream.reusable:
            upstream.close()
            return
        idle = self._idle.setdefault(address, OrderedDict())
        idle[upstream] = time.monotonic()
        while len(idle) > MOST_IDLE or (idle and self._is_old(next(iter(idle.values())))):
            idle.popitem(last=False)[0].close()

    def forget(self, address: str) -> None:
        """Nobody listens there any more."""
        for upstream in self._idle.pop(address, {}):
            upstream.close()

    def close(self) -> None:
        """End every idle connection."""
        for address in list(self._idle):
            self.forget(address)

    def _is_old(self, since: float) -> bool:
        return time.monotonic() - since >= IDLE_SECONDS
