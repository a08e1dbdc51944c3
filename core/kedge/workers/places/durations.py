"""How long requests took, as their visitors' location saw it: mergeable sketches of bounded size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddsketch import LogCollapsingLowestDenseDDSketch

from kedge.workers.lru import Lru

if TYPE_CHECKING:
    from collections.abc import Iterator

#: a duration is known to within a twentieth; 160 buckets reach from 40 µs to over an hour
ACCURACY = 0.05
BUCKETS = 160
#: series of one worker; what does not fit goes to the route `other`
MOST_SERIES = 48
MOST_WORKERS = 512
OTHER = "other"
#: the points at which a distribution is read
POINTS = 100
SHOWN = (0.5, 0.95, 0.99)


@dataclass(frozen=True, order=True)
class Series:
    """Which requests are counted together."""

    route: str
    location: str
    placed: bool


class _Sketch:
    """Durations of requests, some of which stand for others."""

    def __init__(self) -> None:
        self.durations = LogCollapsingLowestDenseDDSketch(relative_accuracy=ACCURACY, bin_limit=BUCKETS)
        self.measured = 0

    def add(self, milliseconds: float, stands_for: int) -> None:
        self.durations.add(milliseconds, stands_for)
        self.measured += 1

    def merge(self, other: _Sketch) -> None:
        self.durations.merge(other.durations)
        self.measured += other.measured

    def at(self, quantile: float) -> float:
        return round(float(self.durations.get_quantile_value(quantile) or 0.0), 2)


@dataclass
class _Worker:
    sketches: dict[Series, _Sketch] = field(default_factory=dict)


class Durations:
    """Of all workers on this node; the one that was asked least recently is forgotten first."""

    def __init__(self) -> None:
        """Nothing was served yet."""
        self._workers: Lru[str, _Worker] = Lru(MOST_WORKERS)

    def record(self, worker_id: str, series: Series, milliseconds: float, *, stands_for: int = 1) -> None:
        """A request was answered, which stands for so many."""
        worker = self._workers.get(worker_id)
        if worker is None:
            worker = _Worker()
            self._workers.put(worker_id, worker)
        sketch = worker.sketches.get(series)
        if sketch is None:
            if len(worker.sketches) >= MOST_SERIES:
                # of each location two at most, so that these fit besides
                series = Series(OTHER, series.location, series.placed)
            sketch = worker.sketches.setdefault(series, _Sketch())
        sketch.add(milliseconds, stands_for)

    def forget(self, worker_id: str) -> None:
        """The worker was deployed anew."""
        self._workers.drop(worker_id)

    def show(self, worker_id: str) -> list[dict[str, Any]]:
        """Each series of a worker, and all that were placed and all that were not under the route `*`."""
        worker = self._workers.get(worker_id) or _Worker()
        merged: dict[bool, _Sketch] = {}
        for series, sketch in worker.sketches.items():
            merged.setdefault(series.placed, _Sketch()).merge(sketch)
        every = [(Series("*", "*", placed), sketch) for placed, sketch in merged.items()]
        return [_shown(series, sketch) for series, sketch in [*every, *sorted(worker.sketches.items())]]


def _shown(series: Series, sketch: _Sketch) -> dict[str, Any]:
    return {
        "route": series.route,
        "location": series.location,
        "placed": series.placed,
        "requests": int(sketch.durations.count),
        "measured": sketch.measured,
        "quantiles_ms": {f"p{quantile * 100:g}": sketch.at(quantile) for quantile in SHOWN},
        "histogram": list(_histogram(sketch)),
    }


def _histogram(sketch: _Sketch) -> Iterator[dict[str, float]]:
    """Durations and the share of requests that took about so long; at most a hundred."""
    shares: dict[float, float] = {}
    for point in range(POINTS):
        value = sketch.at((point + 0.5) / POINTS)
        shares[value] = shares.get(value, 0.0) + 1 / POINTS
    for milliseconds, share in sorted(shares.items()):
        yield {"ms": milliseconds, "share": round(share, 4)}
