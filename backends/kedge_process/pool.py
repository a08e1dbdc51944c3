"""Runners that wait, started before anybody asks."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from kedge import CapacityUnavailable, ComputeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_process.lease import Lease

#: seconds after which a used runner is replaced
REFILL_AFTER = 0.02

log = structlog.get_logger("process")


class RunnerPool:
    """Keeps `warm` leases ready and makes more while somebody waits. Each is used once."""

    def __init__(self, fork: Callable[[], Lease], warm: int) -> None:
        """`fork` is called in a thread, one call at a time."""
        self._fork = fork
        self._warm = warm
        self._ready: deque[Lease] = deque()
        self._waiting: deque[asyncio.Future[Lease]] = deque()
        self._filler: asyncio.Task[None] | None = None
        self._closed = False

    def fill(self) -> None:
        """See to it that there are as many as there should be."""
        if not self._closed and (self._filler is None or self._filler.done()):
            self._filler = asyncio.create_task(self._fill())

    async def take(self) -> Lease:
        """A waiting runner, at once if one is ready. Raises as `fork` does."""
        while self._ready:
            lease = self._ready.popleft()
            if lease.waits():
                # not at once: the build that has just started needs the processor more
                asyncio.get_running_loop().call_later(REFILL_AFTER, self.fill)
                return lease
            lease.discard()
        if self._closed:
            raise CapacityUnavailable("this node is stopping")
        waiting: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.fill()
        try:
            return await waiting
        except asyncio.CancelledError:
            # it may have been handed over in the same moment
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._hand_out(waiting.result())
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiting)

    async def close(self) -> None:
        """End what waits."""
        self._closed = True
        if self._filler:
            await self._filler
        self._refuse(CapacityUnavailable("this node is stopping"))
        while self._ready:
            self._ready.popleft().discard()

    async def _fill(self) -> None:
        while not self._closed and len(self._ready) < self._warm + len(self._waiting):
            try:
                lease = await asyncio.to_thread(self._fork)
            except ComputeError as error:
                log.warning("runner_not_forked", reason=str(error))
                self._refuse(error)
                return
            except Exception as error:
                # those who wait have nobody else who would answer
                log.exception("runner_not_forked")
                self._refuse(CapacityUnavailable(f"no runner can be made now ({error})"))
                return
            self._hand_out(lease)

    def _hand_out(self, lease: Lease) -> None:
        if self._closed:
            lease.discard()
            return
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(lease)
                return
        self._ready.append(lease)

    def _refuse(self, error: ComputeError) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)
