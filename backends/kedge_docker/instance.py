"""One instance as this runtime knows it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from docker.errors import APIError, NotFound

from kedge import ExitCause, InstanceExit
from kedge_docker.engine import EngineGone, close_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import docker

    from kedge_docker.engine import Engine

log = structlog.get_logger("docker")

#: pieces of output that wait for a reader; then the container's own pipe fills up
WAITING = 16
#: seconds between two tries to hear how it ended from an engine that does not answer
PAUSE = 1.0
#: that the end of its output may take to come
LAST_WORDS = 1.0


class DockerInstance:
    """One container. A thread of its own reads what it prints, and then hears how it ended."""

    def __init__(
        self, instance_id: str, container_id: str, *, address: str, output: Any, engine: Engine
    ) -> None:
        """It has started. `output` is its attached output."""
        self.instance_id = instance_id
        self.address = address
        self.container_id = container_id
        self._stream = output
        self._engine = engine
        self._stopping = False

    def watch(self, ended: Callable[[], Awaitable[None]]) -> None:
        """Read on from now on. `ended` is called after its container is gone. On the event loop."""
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[InstanceExit] = self._loop.create_future()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._over, self._drained = asyncio.Event(), asyncio.Event()
        threading.Thread(target=self._pump, name=f"kedge-{self.instance_id}", daemon=True).start()
        self._finishing = asyncio.create_task(self._finish(ended))

    def abandon(self, api: docker.APIClient) -> None:
        """Remove it, of whom nobody has heard yet. Blocks."""
        close_stream(self._stream)
        api.remove_container(self.container_id, v=True, force=True)

    def note_end(self) -> None:
        """The engine says that it has ended. Safe twice."""
        self._over.set()

    async def output(self) -> AsyncIterator[bytes]:
        """What it prints; empty bytes mark the end."""
        while data := await self._pieces.get():
            yield data

    async def exited(self) -> InstanceExit:
        """Wait for the end."""
        return await asyncio.shield(self._exit)

    async def stop(self, *, grace: float) -> InstanceExit:
        """Ask its program to end, then remove the container."""
        self._stopping = self._stopping or not self._exit.done()
        if grace > 0:
            await self._signal("SIGTERM")
            await asyncio.wait((self._exit,), timeout=grace)
        if not self._exit.done():
            await self._signal("SIGKILL")
        return await self.exited()

    async def _signal(self, name: str) -> None:
        with suppress(APIError, EngineGone):
            await self._engine.call("kill", self.container_id, signal=name)

    def _pump(self) -> None:
        """In the thread: pass on what comes. A stream that is cut ends as one that is over."""
        with suppress(Exception):
            for data in self._stream:
                self._put(data)
        close_stream(self._stream)
        # the loop may be closed by now
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._drained.set)
            self._put(b"")

    def _put(self, data: bytes) -> None:
        asyncio.run_coroutine_threadsafe(self._pieces.put(data), self._loop).result()

    async def _finish(self, ended: Callable[[], Awaitable[None]]) -> None:
        await self._over.wait()
        state = await self._last_state()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._drained.wait()
        await self._remove()
        await ended()
        self._exit.set_result(self._verdict(state))

    async def _last_state(self) -> dict[str, Any] | None:
        """Its `State` in the engine's words; `None` if it was removed."""
        while True:
            try:
                state: dict[str, Any] = (await self._engine.call("inspect_container", self.container_id))[
                    "State"
                ]
            except NotFound:
                return None
            except (APIError, EngineGone):
                await asyncio.sleep(PAUSE)
                continue
            return state

    async def _remove(self) -> None:
        """Remove the container; one that cannot be removed now is when the node starts again."""
        try:
            await self._engine.call("remove_container", self.container_id, v=True, force=True)
        except NotFound:
            return
        except (APIError, EngineGone) as error:
            log.warning("container_not_removed", container=self.container_id, reason=str(error))

    def _verdict(self, state: dict[str, Any] | None) -> InstanceExit:
        if self._stopping:
            return InstanceExit(cause=ExitCause.STOPPED)
        if state is None:
            return InstanceExit(
                cause=ExitCause.INFRASTRUCTURE, detail="its container was removed by someone else"
            )
        code, said = state["ExitCode"], state.get("Error") or ""
        if said:
            return InstanceExit(cause=ExitCause.INFRASTRUCTURE, exit_code=code, detail=said)
        if state.get("OOMKilled") and code != 0:
            return InstanceExit(cause=ExitCause.OUT_OF_MEMORY, exit_code=code)
        return InstanceExit(cause=ExitCause.SELF, exit_code=code)
