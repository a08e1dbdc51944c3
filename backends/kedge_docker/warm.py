"""Containers that wait, started before anybody asks. Each is used once."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from kedge import ComputeError

if TYPE_CHECKING:
    from kedge_docker.channel import Channel
    from kedge_docker.container import Shape
    from kedge_docker.containers import Containers

log = structlog.get_logger("docker")

#: seconds after which a used container is replaced: the build that has just started comes first
REFILL_AFTER = 0.05
#: seconds until a failed start of one is tried again
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A container whose runner reads from `channel`."""

    container_id: str
    channel: Channel
    #: what its image's name meant when it was made
    image_id: str


class WarmPool:
    """Keeps `count` containers of one shape waiting."""

    def __init__(self, containers: Containers, shape: Shape, count: int) -> None:
        """Start nothing yet."""
        self._containers = containers
        self._shape = shape
        self._count = count
        self._ready: deque[Waiting] = deque()
        self._filler: asyncio.Task[None] | None = None
        self._closed = False
        #: whoever gets the container that is being made
        self._claim: asyncio.Future[Waiting | None] | None = None
        #: whether a container is being made now, which others see before it waits
        self.creating = False

    @property
    def ids(self) -> set[str]:
        """The containers that wait now."""
        return {waiting.container_id for waiting in self._ready}

    def fill(self) -> None:
        """See to it that there are as many as there should be."""
        if not self._closed and (self._filler is None or self._filler.done()):
            self._filler = asyncio.create_task(self._fill())

    async def take(self, shape: Shape) -> Waiting | None:
        """One of that shape that waits, or will sooner than another could be made; None if there is none."""
        if shape != self._shape:
            return None
        if self._ready:
            # not at once: the build that has just started needs the processor more
            asyncio.get_running_loop().call_later(REFILL_AFTER, self.fill)
            return self._ready.popleft()
        if not self.creating or self._claim is not None:
            return None
        claim: asyncio.Future[Waiting | None] = asyncio.get_running_loop().create_future()
        self._claim = claim
        try:
            return await claim
        except asyncio.CancelledError:
            # it may have been handed over in the same moment
            if claim.done() and not claim.cancelled() and (waiting := claim.result()) is not None:
                self._take_back(waiting)
            raise

    def lost(self, container_id: str) -> bool:
        """A container has ended; whether it was one of those that wait, and is replaced."""
        for waiting in self._ready:
            if waiting.container_id == container_id:
                self._ready.remove(waiting)
                waiting.channel.close()
                asyncio.get_running_loop().call_later(FIRST_PAUSE, self.fill)
                return True
        return False

    async def close(self) -> None:
        """End what waits."""
        self._closed = True
        if self._filler is not None:
            self._filler.cancel()
            await asyncio.wait([self._filler])
        while self._ready:
            waiting = self._ready.popleft()
            # which ends its runner, should the engine not be there to be asked
            waiting.channel.close()
            await self._discard(waiting.container_id)

    async def _fill(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed and len(self._ready) < self._count:
            creation = asyncio.create_task(self._create())
            try:
                await asyncio.shield(creation)
            except asyncio.CancelledError:
                await asyncio.wait([creation])
                creation.exception()
                raise
            except ComputeError as error:
                log.warning("no_warm_container", reason=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _create(self) -> None:
        self.creating = True
        try:
            container_id, channel = await self._containers.create(self._shape, None, {})
            try:
                image_id = await self._containers.image_of(container_id)
            except BaseException:
                channel.close()
                raise
            waiting = Waiting(container_id=container_id, channel=channel, image_id=image_id)
            if not self._hand_over(waiting):
                self._ready.append(waiting)
        finally:
            self.creating = False
            self._hand_over(None)

    def _hand_over(self, waiting: Waiting | None) -> bool:
        """Give it to whoever claims it; whether there is anyone."""
        claim, self._claim = self._claim, None
        if claim is None or claim.done():
            return False
        claim.set_result(waiting)
        return True

    def _take_back(self, waiting: Waiting) -> None:
        if self._closed:
            # which ends its runner; the container is removed when the node starts again
            waiting.channel.close()
        else:
            self._ready.append(waiting)

    async def _discard(self, container_id: str) -> None:
        try:
            await self._containers.remove(container_id)
        except ComputeError as error:
            log.warning("warm_container_not_removed", container=container_id, reason=str(error))
