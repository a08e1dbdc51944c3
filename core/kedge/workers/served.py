"""Telling plugins of requests that were served, without a request waiting for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from kedge.contracts.events import RequestServed

log = structlog.get_logger("gateway")

#: requests that plugins have not heard of yet; of what comes beyond they do not hear
MOST_UNTOLD = 10_000


class Listeners(Protocol):
    """The part of the registry that the gateway needs."""

    def listens(self, hook: str) -> bool:
        """Whether anybody implements the hook."""
        ...

    async def request_served(self, request: RequestServed) -> None:
        """Tell everybody who does."""
        ...


class Served:
    """Tells of one request after the other, in the order in which they ended. For the event loop."""

    def __init__(self, listeners: Listeners) -> None:
        """Nothing to tell yet."""
        self._listeners = listeners
        self._untold: deque[RequestServed] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._lost = 0
        #: whether anybody listens: else an event need not be made
        self.wanted = listeners.listens("kedge_request_served")

    def tell(self, event: RequestServed) -> None:
        """A request was served."""
        if len(self._untold) >= MOST_UNTOLD:
            self._lost += 1
            return
        self._untold.append(event)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while self._untold:
                await self._listeners.request_served(self._untold.popleft())
        finally:
            self._telling = None
            if self._lost:
                log.warning("plugins are too slow to hear of every request", unheard=self._lost)
                self._lost = 0
