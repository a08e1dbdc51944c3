"""Round-trip times, robust against single wrong measurements."""

from __future__ import annotations

from collections import deque

from kedge_smart.calls import Calls

#: of each pair so many measurements are kept; half of them may lie without effect
KEPT = 15


class Latency:
    """The round-trip times between locations, and from locations to back ends, in milliseconds.

    A location that tells shorter ones than there are, by mistake or on purpose, would draw requests that are
    slow there. Of the way between two locations the longer measurement counts, and that to a back end is held
    against the calls that were made: see `Calls`.
    """

    def __init__(self) -> None:
        """Nothing is measured."""
        self._samples: dict[tuple[str, str], deque[float]] = {}
        self._rtt: dict[tuple[str, str], float] = {}
        #: where calls contradict what was measured, how much longer the way is
        self._untold: dict[tuple[str, str], float] = {}
        self._calls = Calls()

    def add(self, source: str, target: str, rtt_ms: float) -> None:
        """Take a measurement in. One that cannot be true is left out."""
        if not 0 <= rtt_ms < 60_000:
            return
        samples = self._samples.get((source, target))
        if samples is None:
            samples = self._samples[source, target] = deque(maxlen=KEPT)
        samples.append(rtt_ms)
        measured = self._rtt[source, target] = sorted(samples)[(len(samples) - 1) // 2]
        self._untold[source, target] = self._calls.untold(source, target, measured)

    def called(self, source: str, target: str, duration_ms: float, rounds: int) -> None:
        """Take in how long a call to a back end took in truth. It counts from the next measurement on."""
        measured = self._rtt.get((source, target))
        if measured is not None:
            self._calls.add(source, target, duration_ms / rounds - measured)

    def rtt(self, source: str, target: str) -> float | None:
        """The usual round-trip time, or `None` if it was never measured."""
        if source == target:
            return 0.0
        known = self._rtt.get((source, target))
        back = self._rtt.get((target, source))
        if known is None:
            return back
        if back is not None:
            return max(known, back)
        return known + self._untold[source, target]

    def spread(self, target: str, sources: list[str]) -> float | None:
        """How far apart the times from `sources` to a back end are; `None` unless all are known."""
        times = [self._rtt.get((source, target)) for source in sources]
        known = [time for time in times if time is not None]
        return max(known) - min(known) if len(known) == len(times) > 1 else None
