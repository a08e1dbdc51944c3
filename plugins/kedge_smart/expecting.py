"""What a request is expected to take at each candidate, from measured ways and observed durations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge_smart.durations import Durations
    from kedge_smart.route import Entry
    from kedge_smart.weighing import Travel

#: durations of fewer requests say nothing
FEW = 30.0
#: of so many, what they take on average is about right
SOME = 10.0
#: what was observed has to differ from what was expected by so many standard errors
CERTAINTY = 4.0


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """All candidates of an entry, weighed."""

    travel: Mapping[str, Travel]
    #: of those whose travel is known, what a request is expected to take there
    expected: dict[str, float]
    #: the part of it that is the same wherever it runs
    work: float
    #: how many milliseconds longer than expected requests take where they run now
    surprise: float


def weigh(name: str, entry: Entry, travel: Mapping[str, Travel], now: float) -> Weighing:
    """All candidates of the entry `name`."""
    work, late = _at_work(entry, travel.get(name))
    surprise = _surprise(entry, travel.get(entry.location), work)
    expected = {}
    for location, way in travel.items():
        if way.unknown is None:
            longer = surprise if location == entry.location else entry.surprise(location, now)
            expected[location] = work + way.ms + (late if location == name else longer)
    return Weighing(travel=travel, expected=expected, work=work, surprise=surprise)


def work_of(durations: Durations, way: Travel) -> float:
    """What requests took beyond the way, in milliseconds."""
    return max((durations.typical_ms or 0.0) - way.ms, 0.0)


def late_at(name: str, entry: Entry, weighing: Weighing) -> float:
    """How many milliseconds more than where it runs now a request is at work at its entry."""
    here, way = entry.here, weighing.travel[entry.location]
    if here is None or min(here.requests, entry.baseline.requests) < SOME:
        return entry.slowness.late
    return max(work_of(entry.baseline, weighing.travel[name]) - work_of(here, way), 0.0)


def doubt_of(durations: Durations) -> float:
    """By so many milliseconds more or less, chance could have it."""
    return CERTAINTY * math.exp(durations.mean) * durations.error


def _at_work(entry: Entry, way: Travel | None) -> tuple[float, float]:
    """The part of a request's time that is the same wherever it runs, and that of slow machines here."""
    if entry.baseline.typical_ms is None or way is None or way.unknown is not None:
        return 0.0, 0.0
    work = work_of(entry.baseline, way)
    late = min(entry.slowness.late, work)
    return work - late, late


def _surprise(entry: Entry, way: Travel | None, work: float) -> float:
    """How many milliseconds longer than expected requests take at `entry.location`, as far as is certain."""
    here = entry.here
    if here is None or way is None or way.unknown is not None:
        return 0.0
    if min(here.requests, entry.baseline.requests) < FEW:
        return 0.0
    late = math.exp(here.mean) - work - way.ms
    doubt = math.hypot(doubt_of(here), doubt_of(entry.baseline))
    return math.copysign(max(abs(late) - doubt, 0.0), late)
