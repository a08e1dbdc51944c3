"""Builds near what builds fetch from and store to: the forge, the registry, the blob store."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kedge.contracts.host import Host
    from kedge.contracts.placement import Candidate, PlacementRequest


#: differences of less, in milliseconds, do not count: a warm cache is worth more
STEP = 250.0
Target = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$", max_length=300)]


class DistanceSettings(BaseModel):
    """`[placement.distance]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: dict[Target, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        max_length=32,
        description="What builds talk to besides their repository's host, the registry that their variables "
        "name and the blob store, as HOST:PORT, each with the round trips of a build; or other numbers of "
        "round trips to these.",
    )
    refuse_above: float | None = Field(
        default=None, gt=0, description="Milliseconds of all these round trips together that are too many."
    )


class Distance:
    """Prefers the location from where a build waits the least for what it talks to."""

    name: ClassVar[str] = "distance"
    Settings: ClassVar[type[BaseModel]] = DistanceSettings
    targets: Collection[str]

    def __init__(self, settings: DistanceSettings, host: Host) -> None:
        """Keep what builds talk to."""
        self._settings = settings
        self.targets = tuple(settings.hosts)

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """Refuse what is known to be too far; a way that was not measured refuses nothing."""
        limit, trips = self._settings.refuse_above, self._trips(request)
        waits = _waits(trips, candidate)
        if limit is None or waits is None or waits <= limit:
            return None
        return f"too far: a build would wait {waits:.0f} ms for {', '.join(trips)}"

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The nearest first; those of which that is not known last."""
        measured = {host for candidate in candidates for host in candidate.distances}
        trips = {host: often for host, often in self._trips(request).items() if host in measured}
        return sorted(candidates, key=lambda candidate: _rank(_waits(trips, candidate)))

    def _trips(self, request: PlacementRequest) -> dict[str, float]:
        return {**request.talks_to, **self._settings.hosts}


def _waits(trips: Mapping[str, float], candidate: Candidate) -> float | None:
    """Milliseconds of all round trips of a build; `None` unless every way was measured."""
    if any(host not in candidate.distances for host in trips):
        return None
    return sum(often * candidate.distances[host] for host, often in trips.items())


def _rank(waits: float | None) -> float:
    return math.inf if waits is None else round(waits / STEP)
