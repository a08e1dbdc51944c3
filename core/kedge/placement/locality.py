"""Builds a worker where its caches are warm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from kedge.config.units import Duration
from kedge.db.clock import now_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kedge.contracts.host import Host
    from kedge.contracts.placement import Candidate, PlacementRequest


class LocalitySettings(BaseModel):
    """`[placement.cache]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fresh: Duration = Field(
        default=7 * 24 * 3600.0, gt=0, description="Time after which a location's caches are taken for cold."
    )


class Locality:
    """Prefers where the worker was built last; refuses nowhere."""

    name: ClassVar[str] = "cache"
    Settings: ClassVar[type[BaseModel]] = LocalitySettings
    targets: Collection[str]

    def __init__(self, settings: LocalitySettings, host: Host) -> None:
        """Keep the time."""
        self._fresh_ms = settings.fresh * 1000
        self.targets = ()

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """Any location will do."""
        return None

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The one of the latest build first."""
        since = now_ms() - self._fresh_ms
        return sorted(candidates, key=lambda candidate: -max(request.built.get(candidate.location, 0), since))
