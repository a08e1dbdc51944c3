"""The compute backend `docker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kedge_docker.container_compute import ContainerCompute
from kedge_docker.settings import DockerSettings
from kedge_docker.swarm_compute import SwarmCompute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

    from kedge import ComputeRequest, ComputeStatus, Host, Scope
    from kedge_docker.engine_compute import EngineCompute


class DockerCompute:
    """Runs each attempt in a container: of this node's engine, or of whatever node of a swarm has room."""

    name: ClassVar[str] = "docker"
    Settings: ClassVar[type[BaseModel]] = DockerSettings
    adopts: ClassVar[bool] = True

    def __init__(self, settings: DockerSettings, host: Host) -> None:
        """Choose by `settings.mode`; connect to nothing yet."""
        kind = SwarmCompute if settings.mode == "swarm" else ContainerCompute
        self._place: EngineCompute = kind(settings, host)

    @property
    def scope(self) -> Scope:
        """A node sees its own containers, and every service of a swarm."""
        return self._place.scope

    async def open(self) -> None:
        """Adopt what runs. Raises `ConfigError` if the engine may not be used like this."""
        await self._place.open()

    async def start(self, request: ComputeRequest) -> str:
        """Start an attempt, or find the one that was started before."""
        return await self._place.start(request)

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        return await self._place.inspect(compute_id)

    def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        return self._place.exits()

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask the runner to end, then kill all it has started."""
        await self._place.stop(compute_id, grace=grace)

    async def list(self) -> list[ComputeStatus]:
        """All attempts that have not been stopped or forgotten."""
        return await self._place.list()

    async def forget(self, compute_id: str) -> None:
        """Remove what an ended attempt has left in the engine."""
        await self._place.forget(compute_id)

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        await self._place.close()
