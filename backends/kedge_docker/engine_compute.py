"""What containers and services have in common: which attempts there are, and how they ended."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kedge import AttemptName, Attempts, Scope
from kedge_docker.engine import Engine
from kedge_docker.images import Images
from kedge_docker.registries import Registries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge import ComputeRequest, ComputeStatus, Host
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
        self._registries = Registries(settings.registries, host, table=settings.table)
        self._images = Images(self._engine, self._registries, allowed=settings.pull == "missing")
        self._attempts: Attempts[Attempt] = Attempts()
        #: whether the engine has been seen since this node started
        self._looked = False

    async def open(self) -> None:
        """Adopt what runs; an engine that does not answer is waited for later.

        Raises `ConfigError` if it may not be used like this.
        """
        await asyncio.to_thread(self._registries.check)
        await self._open()

    @abstractmethod
    async def _open(self) -> None:
        """The same for containers, or for services."""

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
        return await self._attempts.start(name, lambda: self._start(name, request))

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        return self._attempts.status(compute_id)

    def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        return self._attempts.exits()

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask the runner to end, then kill all it has started. Waits for an engine that is gone."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None:
            await self._attempts.safely(self._stop(attempt, grace))

    async def list(self) -> list[ComputeStatus]:
        """All attempts that the engine has and that have not been stopped.

        Raises `CapacityUnavailable` if the engine has not answered since this node started.
        """
        if not self._looked:
            await self._look()
        return await self._attempts.listed()

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        self._images.close()
        self._attempts.cancel(starts=True)
        await self._attempts.close()
        await self._engine.close()
