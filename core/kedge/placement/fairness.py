"""Keeps one account from taking a location for itself while others wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kedge.contracts.host import Host
    from kedge.contracts.placement import Candidate, PlacementRequest


class FairnessSettings(BaseModel):
    """`[placement.fairness]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Part of a location's builds that one may have while others wait.",
    )
    from_builds: int = Field(default=2, ge=1, description="Builds of an account that are always allowed.")


class Fairness:
    """Refuses an account that has more than its share of a location; prefers where it has the fewest."""

    name: ClassVar[str] = "fairness"
    Settings: ClassVar[type[BaseModel]] = FairnessSettings
    targets: Collection[str]

    def __init__(self, settings: FairnessSettings, host: Host) -> None:
        """Keep the share."""
        self._settings = settings
        self.targets = ()

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """Refuse what would be more than the account's share, unless nobody else waits."""
        own = candidate.accounts.get(request.account, 0)
        if not request.others_wait or own < self._settings.from_builds:
            return None
        if own + 1 <= self._settings.share * (candidate.running + 1):
            return None
        return f"{own} of the {candidate.running} builds there are the account's, and others wait"

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Where the account has the fewest first."""
        return sorted(candidates, key=lambda candidate: candidate.accounts.get(request.account, 0))
