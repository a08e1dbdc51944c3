"""Keeps a place from running more builds than it can carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kedge.contracts.host import Host
    from kedge.contracts.placement import Candidate, PlacementRequest


class CapacitySettings(BaseModel):
    """`[placement.capacity]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: how many builds one location runs at once, of all accounts together
    max_builds: int = Field(default=6, ge=1, description="Builds that one location runs at once.")
    locations: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="The same for single locations; 0 for one that runs none."
    )


class Capacity:
    """Refuses a location that is full; prefers the one that runs the fewest."""

    name: ClassVar[str] = "capacity"
    Settings: ClassVar[type[BaseModel]] = CapacitySettings
    targets: Collection[str]

    def __init__(self, settings: CapacitySettings, host: Host) -> None:
        """Keep the limit."""
        self._settings = settings
        self.targets = ()

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """Refuse a full location."""
        limit = self._settings.locations.get(candidate.location, self._settings.max_builds)
        return None if candidate.running < limit else f"{candidate.running} of {limit} builds run"

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The emptiest first."""
        return sorted(candidates, key=lambda candidate: candidate.running)
