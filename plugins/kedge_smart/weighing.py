"""What a request's calls take at each candidate."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kedge_smart.excluded import Excluded
    from kedge_smart.latency import Latency
    from kedge_smart.profile import Profile, Wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Travel:
    """Milliseconds that a request and its calls take, or the reason why that is not known."""

    ms: float = 0.0
    unknown: str | None = None


@dataclass(frozen=True)
class BackEnds:
    """The waits of a route, without the calls that do not count."""

    #: calls side by side → how often an invocation waits for them
    waits: dict[Wait, float]
    #: back end → milliseconds that a call is at work there
    work: dict[str, float]
    #: back end → why it does not count
    excluded: dict[str, str]
    #: calls that an invocation waits for, whether they count or not: at least and at most
    calls: tuple[float, float]
    #: location → what all calls of an invocation take from there
    travel: dict[str, Travel]

    @cached_property
    def rounds(self) -> dict[str, float]:
        """Back end → round trips in an invocation."""
        rounds: defaultdict[str, float] = defaultdict(float)
        for wait, often in self.waits.items():
            for host, trips in wait:
                rounds[host] += often * trips
        return dict(rounds)


def back_ends(
    profile: Profile, latency: Latency, locations: list[str], excluded: Excluded, *, same: float
) -> BackEnds:
    """Part the calls that count from those that do not, and tell what they take from each location.

    A back end whose round-trip times differ by less than `same` milliseconds between all locations is as
    near to one as to the other.
    """
    waits, work = profile.waits(), profile.work
    reasons = dict.fromkeys(profile.ignored, "no response waits for it")
    for host in {host for wait in waits for host, _ in wait}:
        if (reason := excluded.reason(host)) is not None:
            reasons[host] = reason
        elif (spread := latency.spread(host, locations)) is not None and spread < same:
            reasons[host] = f"as near to every location (within {spread:.0f} ms)"
    counted: defaultdict[Wait, float] = defaultdict(float)
    for wait, often in waits.items():
        counted[tuple(call for call in wait if call[0] not in reasons)] += often
    counted.pop((), None)
    return BackEnds(
        waits=dict(counted),
        work=work,
        excluded=reasons,
        calls=profile.calls,
        travel={location: _waiting(location, counted, work, latency) for location in locations},
    )


def travel(entry: str, location: str, ends: BackEnds, latency: Latency) -> Travel:
    """From where a request comes in to where it would run, from there to the back ends, and back."""
    forward = latency.rtt(entry, location)
    if forward is None:
        return Travel(unknown=f"the way from {entry} was not measured")
    waiting = ends.travel[location]
    return Travel(ms=forward + waiting.ms) if waiting.unknown is None else waiting


def _waiting(
    location: str, waits: Mapping[Wait, float], work: Mapping[str, float], latency: Latency
) -> Travel:
    """All calls of an invocation, on average.

    Of calls side by side the slowest counts: which one that is differs from place to place.
    """
    known: dict[str, float] = {}
    for host in {host for wait in waits for host, _ in wait}:
        way = latency.rtt(location, host)
        if way is None:
            return Travel(unknown=f"the way to {host} was not measured")
        known[host] = way
    waiting = sum(
        often * max([trips * known[host] + work.get(host, 0.0) for host, trips in wait])
        for wait, often in waits.items()
    )
    return Travel(ms=waiting)


def fastest(expected: dict[str, float], order: Sequence[str]) -> str | None:
    """The location with the least; of equals the first in `order`."""
    known = [location for location in order if location in expected]
    return min(known, key=expected.__getitem__) if known else None
