"""Hears from the engine which containers end, and looks for itself after every silence."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from kedge_docker.engine import close_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from kedge_docker.engine import Engine

log = structlog.get_logger("docker")

#: seconds between two tries to reach an engine that is gone
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
#: of the events that are past, so many seconds are heard again
OVERLAP = 10
SWEEP = 30.0
ENDS = ["die", "destroy"]


class Watched(Protocol):
    """Containers of one kind in one engine."""

    @property
    def engine(self) -> Engine:
        """Where they are."""
        ...

    @property
    def filter(self) -> dict[str, list[str]]:
        """What the engine selects them by."""
        ...


class Watch:
    """One stream of the engine's events. When it breaks, it is opened again and what was missed looked up."""

    def __init__(
        self,
        containers: Watched,
        *,
        ended: Callable[[str], None],
        look: Callable[[], Awaitable[None]],
    ) -> None:
        """`ended` hears the id of each container that ends; `look` compares all with what is known."""
        self._containers = containers
        self._ended = ended
        self._look = look
        self._stream: Any = None
        self._thread = ThreadPoolExecutor(1, "kedge-docker-events")
        self._task: asyncio.Task[None] | None = None
        self._reached = asyncio.Event()

    def open(self) -> None:
        """Listen from now on."""
        self._task = asyncio.create_task(self._run())

    async def back(self) -> None:
        """Return when the engine answers: after a failed call, when it answers again."""
        if self._reached.is_set():
            # the call has seen it go before the stream has
            await asyncio.sleep(FIRST_PAUSE)
        await self._reached.wait()

    async def close(self) -> None:
        """Listen no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._listen()
                pause = FIRST_PAUSE
            except Exception as error:  # noqa: BLE001  (whatever the engine says, ends have to be heard)
                if self._reached.is_set():
                    log.warning("engine_gone", reason=str(error) or repr(error))
                self._reached.clear()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self) -> None:
        """Hear events until the stream ends."""
        # the engine answers before it listens to itself: what happened in between is asked for
        since = int(time.time()) - OVERLAP
        filters = {**self._containers.filter, "type": "container", "event": ENDS}
        stream = await self._containers.engine.call("events", since=since, decode=True, filters=filters)
        try:
            # only now: what ends from here on is heard, what has ended before is seen
            await self._look()
            if not self._reached.is_set():
                log.info("engine_reached")
            self._reached.set()
            await self._hear(stream)
        finally:
            await asyncio.to_thread(close_stream, stream)

    async def _hear(self, stream: Iterator[dict[str, Any]]) -> None:
        """Hear events until the stream ends; look now and then too, for a wrong clock can hide some."""
        pump = asyncio.ensure_future(self._pump(stream))
        while not pump.done():
            await asyncio.wait([pump], timeout=SWEEP)
            await self._look()

    async def _pump(self, stream: Iterator[dict[str, Any]]) -> None:
        loop = asyncio.get_running_loop()

        def pump() -> None:
            # a stream that is cut ends as one that is over: either way it is opened again
            with suppress(Exception):
                for event in stream:
                    loop.call_soon_threadsafe(self._ended, event["id"])

        await loop.run_in_executor(self._thread, pump)
