"""Keeps builds from machines that are busy, whatever with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kedge.contracts.host import Host
    from kedge.contracts.placement import Candidate, PlacementRequest


#: loads that differ by less are the same
STEP = 0.25


class LoadSettings(BaseModel):
    """`[placement.load]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    refuse_above: float = Field(
        default=4.0,
        gt=0,
        description="Processes for each processor, over a minute, that are too many.",
    )


class Load:
    """Refuses a location all of whose nodes are too busy; prefers the least busy one."""

    name: ClassVar[str] = "load"
    Settings: ClassVar[type[BaseModel]] = LoadSettings
    targets: Collection[str]

    def __init__(self, settings: LoadSettings, host: Host) -> None:
        """Keep the limit."""
        self._limit = settings.refuse_above
        self.targets = ()

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """Refuse a busy location; of one whose load is not known nothing bad is assumed."""
        if candidate.load is None or candidate.load <= self._limit:
            return None
        return f"its machine is busy: a load of {candidate.load:.1f} for each processor"

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The least busy first."""
        return sorted(candidates, key=lambda candidate: round((candidate.load or 0.0) / STEP))
