"""A compute backend, written from the contract alone: `kedge.Compute` says what each method promises."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any, ClassVar

from kedge import CapacityUnavailable, ComputeState, ComputeStatus, Scope

from kedge_hello.attempt import Attempt
from kedge_hello.settings import HelloSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from kedge import ComputeRequest, Host
    from pydantic import BaseModel


class HelloCompute:
    """Each attempt is a child process of the node, and ends with it."""

    name: ClassVar[str] = "hello"
    Settings: ClassVar[type[BaseModel]] = HelloSettings
    scope: Scope = Scope.NODE
    adopts: ClassVar[bool] = False

    def __init__(self, settings: HelloSettings, host: Host) -> None:
        """Keep what is needed later."""
        self._max_attempts = settings.max_attempts
        self._folder = host.data_dir / "hello"
        self._attempts: dict[str, Attempt] = {}
        self._starts: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()

    async def open(self) -> None:
        """Clear away what a node that was killed has left."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def start(self, request: ComputeRequest) -> str:
        """Start the runner for one attempt, once."""
        compute_id = f"{request.build_uuid}-{request.attempt}"
        if compute_id not in self._attempts:
            if sum(not one.ended for one in self._attempts.values()) >= self._max_attempts:
                raise CapacityUnavailable(f"all {self._max_attempts} places of this node are taken")
            attempt = Attempt(compute_id, request, self._folder / compute_id)
            self._attempts[compute_id] = attempt
            self._starts[compute_id] = self._carry_through(self._start(attempt))
        if compute_id in self._starts:
            await asyncio.shield(self._starts[compute_id])
        return compute_id

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None:
            return attempt.status
        return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends, until `close`."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """End an attempt and all it has started."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None:
            await asyncio.shield(self._carry_through(self._stop(attempt, grace)))

    async def list(self) -> list[ComputeStatus]:
        """All attempts but those that were stopped or forgotten."""
        return [one.status for one in self._attempts.values() if not (one.stopped and one.ended)]

    async def forget(self, compute_id: str) -> None:
        """Remove the workspace of an ended attempt."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None and attempt.ended:
            await asyncio.to_thread(shutil.rmtree, attempt.workspace, ignore_errors=True)
            self._attempts.pop(compute_id, None)

    async def close(self) -> None:
        """End every attempt: none survives the node."""
        await asyncio.gather(*(self._stop(one, 0) for one in [*self._attempts.values()]))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._exits.put_nowait(None)

    async def _start(self, attempt: Attempt) -> None:
        try:
            await attempt.start()
        except BaseException:
            del self._attempts[attempt.compute_id]
            await asyncio.to_thread(shutil.rmtree, attempt.workspace, ignore_errors=True)
            raise
        finally:
            del self._starts[attempt.compute_id]
        self._carry_through(self._watch(attempt))

    async def _watch(self, attempt: Attempt) -> None:
        await attempt.wait()
        self._exits.put_nowait(attempt.status)

    async def _stop(self, attempt: Attempt, grace: float) -> None:
        if starting := self._starts.get(attempt.compute_id):
            await asyncio.wait([starting])
        await attempt.stop(grace)

    def _carry_through(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something that goes on even if whoever asked for it gives up."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task
