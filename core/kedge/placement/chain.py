"""The strategies named in `[placement] chain`, asked one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.contracts.placement import Candidate, Placement, PlacementRequest


@dataclass(frozen=True, kw_only=True)
class Refused:
    """No candidate will do; `reason` is shown to whoever waits."""

    reason: str


class Chain:
    """Orders the candidates by every strategy, then takes the first that all of them approve."""

    def __init__(self, strategies: Sequence[Placement]) -> None:
        """The last strategy's order counts most: each one sorts what those before it sorted."""
        self._strategies = strategies

    @property
    def targets(self) -> set[str]:
        """What the strategies want to know the distance of."""
        return {target for strategy in self._strategies for target in strategy.targets}

    def place(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Candidate | Refused:
        """The place for a build, or why there is none. Of equal candidates the first is taken."""
        ordered = candidates
        for strategy in self._strategies:
            ordered = strategy.order(request, ordered)
        reasons = []
        for candidate in ordered:
            reason = self._refusal(request, candidate)
            if reason is None:
                return candidate
            reasons.append(f"{candidate.location}: {reason}")
        return Refused(reason="; ".join(sorted(reasons)) or "no location can run builds")

    def _refusal(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        refusals = (strategy.approve(request, candidate) for strategy in self._strategies)
        return next((reason for reason in refusals if reason is not None), None)
