"""Round-trip times, robust against single wrong measurements."""

from __future__ import annotations

from collections import deque
from statistics import median_low

#: of each pair so many measurements are kept; half of them may lie without effect
KEPT = 15


class Latency:
    """The round-trip times between locations, and from locations to back ends, in milliseconds."""

    def __init__(self) -> None:
        """Nothing is measured."""
        self._samples: dict[tuple[str, str], deque[float]] = {}
        self._rtt: dict[tuple[str, str], float] = {}

    def add(self, source: str, target: str, rtt_ms: float) -> None:
        """Take a measurement in. One that cannot be true is left out."""
        if not 0 <= rtt_ms < 60_000:
            return
        samples = self._samples.setdefault((source, target), deque(maxlen=KEPT))
        samples.append(rtt_ms)
        self._rtt[source, target] = median_low(samples)

    def rtt(self, source: str, target: str) -> float | None:
        """The usual round-trip time, or `None` if it was never measured."""
        if source == target:
            return 0.0
        known = self._rtt.get((source, target))
        return self._rtt.get((target, source)) if known is None else known

    def spread(self, target: str, sources: list[str]) -> float | None:
        """How far apart the times from `sources` to a back end are; `None` unless all are known."""
        times = [self._rtt.get((source, target)) for source in sources]
        known = [time for time in times if time is not None]
        return max(known) - min(known) if len(known) == len(times) > 1 else None
