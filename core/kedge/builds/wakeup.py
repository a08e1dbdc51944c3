"""Work that is asked for often and done once for all who asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger("wakeup")


class Wakeup:
    """Calls `work` soon after `set`, never twice at once; what is asked for meanwhile is one more call."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        """`work` may fail: that is logged, and the next call comes all the same."""
        self._work = work
        self._event = asyncio.Event()

    def set(self) -> None:
        """Ask for a call. Safe from the event loop only."""
        self._event.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._event.wait()
            self._event.clear()
            try:
                await self._work()
            except Exception:
                log.exception("work failed")
