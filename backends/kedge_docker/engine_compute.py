"""What containers and services have in common: which attempts there are, and how they ended."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from kedge import ComputeState, ComputeStatus, Scope
from kedge_docker.engine import Engine
from kedge_docker.labels import AttemptName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from kedge import ComputeRequest, Host
    from kedge_docker.attempt import Attempt
    from kedge_docker.settings import DockerSettings


class EngineCompute(ABC):
    """Keeps the contract of compute as far as it is about what is known; the rest is for subclasses."""

    scope: Scope

    def __init__(self, settings: DockerSettings, host: Host) -> None:
        """Keep `settings`; connect to nothing yet."""
        self._settings = settings
        self._host = host
        self._engine = Engine(settings)
        self._attempts: dict[str, Attempt] = {}
        self._ids: dict[AttemptName, str] = {}
        self._starts: dict[AttemptName, asyncio.Task[str]] = {}
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: whether the engine has been seen since this node started
        self._looked = False

    @abstractmethod
    async def open(self) -> None:
        """As the contract says."""

    @abstractmethod
    async def forget(self, compute_id: str) -> None:
        """As the contract says."""

    @abstractmethod
    async def _start(self, name: AttemptName, request: ComputeRequest) -> str:
        """Start an attempt that is not known; return its id."""

    @abstractmethod
    async def _stop(self, attempt: Attempt, grace: float) -> None:
        """End an attempt; return when nothing of it is left."""

    @abstractmethod
    async def _look(self) -> None:
        """Bring what is known and what the engine has to agree, and set `_looked`. Raises `EngineGone`."""

    async def start(self, request: ComputeRequest) -> str:
        """Start an attempt, or find the one that was started before."""
        name = AttemptName.of(request.build_uuid, request.attempt)
        if name in self._ids:
            return self._ids[name]
        if name not in self._starts:
            self._starts[name] = self._spawn(self._start(name, request))
            self._starts[name].add_done_callback(lambda _: self._starts.pop(name))
        return await asyncio.shield(self._starts[name])

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        attempt = self._attempts.get(compute_id)
        if attempt is None:
            return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)
        return attempt.status

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask the runner to end, then kill all it has started. Waits for an engine that is gone."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None:
            await asyncio.shield(self._spawn(self._stop(attempt, grace)))

    async def list(self) -> list[ComputeStatus]:
        """All attempts that the engine has and that have not been stopped.

        Raises `CapacityUnavailable` if the engine has not answered since this node started.
        """
        if not self._looked:
            await self._look()
        if self._starts:
            await asyncio.wait(list(self._starts.values()))
        return [attempt.status for attempt in self._attempts.values() if not attempt.stopped]

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._exits.put_nowait(None)
        await self._engine.close()

    def _keep(self, attempt: Attempt) -> None:
        self._attempts[attempt.compute_id] = attempt
        self._ids[attempt.name] = attempt.compute_id

    def _drop(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt.compute_id, None)
        self._ids.pop(attempt.name, None)

    def _tell(self, end: ComputeStatus | None) -> None:
        if end is not None:
            self._exits.put_nowait(end)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # whoever waited has seen the error; nobody may be left to
        if not task.cancelled():
            task.exception()
