"""Sends requests to where they are answered fastest, from what was measured."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from kedge import (
    ChosenLocation,
    InvalidInput,
    PlacementExplanation,
    PlacementStatus,
    WeighedLocation,
)
from kedge_smart.excluded import Excluded
from kedge_smart.expecting import Weighing, late_at, weigh, work_of
from kedge_smart.latency import Latency
from kedge_smart.route import Entry, Routes
from kedge_smart.settings import SmartSettings
from kedge_smart.stored import StoredWorker, dump
from kedge_smart.trial import SHARE, Trial
from kedge_smart.trying import Trying
from kedge_smart.weighing import BackEnds, back_ends, fastest, travel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from kedge import Host, ServedRequest

#: more calls than this in an invocation, on average, are more than one
ONE_CALL = 1.0
#: what was known longer ago is worth nothing
LONGEST_AGE = 7 * 24 * 3600.0
#: gains smaller than this part wait for `refine_seconds`
LARGE_GAIN = 0.1
#: gains of this part are not waited with, however many moves there were
VERY_LARGE_GAIN = 0.3


class SmartPlacement:
    """The policy. Deterministic but for the choice of the baseline; state is bounded for each worker."""

    name: ClassVar[str] = "smart"
    Settings: ClassVar[type[BaseModel]] = SmartSettings

    def __init__(self, settings: SmartSettings, host: Host | None = None) -> None:
        """Know nothing yet."""
        self._settings = settings
        self._excluded = Excluded(settings.exclude)
        self._latency = Latency()
        self._alive: list[str] = []
        self._workers: dict[str, Routes] = {}
        self._reviewed_on: float | None = None

    def choose(self, worker: str, route: str, entry: str) -> ChosenLocation:
        """Where the decision of the last review says, but for a small part of the requests."""
        routes = self._workers.get(worker)
        found = routes and routes.find(route, entry)
        if not found:
            return ChosenLocation(location=entry, placed=False, lasting=True)
        placed = found.location != entry
        if placed and random.random() < self._settings.baseline and entry in self._alive:  # noqa: S311  (a sample, no secret)
            return ChosenLocation(location=entry, placed=False)
        trial = found.slowness.trial
        if trial is not None and trial.takes():
            return ChosenLocation(location=trial.location, placed=trial.location != entry)
        return ChosenLocation(location=found.location, placed=placed, lasting=trial is None and not placed)

    def record(self, served: ServedRequest) -> None:
        """Add a request to what is known of its route."""
        routes = self._workers.get(served.worker)
        if routes is None:
            routes = self._workers[served.worker] = Routes(self._settings.most_entries)
        route, entry = routes.watch(served.route, served.entry)
        calls = [call for group in served.calls for call in group]
        for call in calls:
            self._latency.called(served.location, call.host, call.duration_ms, call.rounds)
        ways = (self._latency.rtt(served.location, call.host) for call in calls)
        route.profile.add(served.calls, ways)
        if entry is not None:
            entry.record(served.location, served.duration_ms, served.entry)

    def measured(self, source: str, target: str, rtt_ms: float) -> None:
        """Add a round-trip time; the median of the last few counts."""
        self._latency.add(source, target, rtt_ms)

    def set_locations(self, alive: Sequence[str]) -> None:
        """What runs at a location that is gone runs where it comes in until the next review."""
        self._alive = list(alive)
        for routes in self._workers.values():
            for route in routes.routes.values():
                for name, entry in route.entries.items():
                    entry.slowness.keep_to(self._alive)
                    if entry.location not in self._alive and entry.location != name:
                        entry.move(name, name, None, self._reviewed_on or 0.0)
                        entry.moved_on = entry.decided_on = None
                        entry.reason = "its location is gone"

    def forget(self, worker: str) -> None:
        """Begin anew, near the visitor."""
        self._workers.pop(worker, None)

    def dump(self, worker: str) -> dict[str, Any] | None:
        """What is known of its routes; round-trip times are not, which are not a worker's own."""
        routes = self._workers.get(worker)
        return None if routes is None else dump(routes, self._reviewed_on or 0.0)

    def load(self, worker: str, state: Mapping[str, Any], *, now: float, age: float) -> None:
        """Know again what was known; durations fade by the time that has passed."""
        if worker in self._workers or not 0.0 <= age < LONGEST_AGE:
            return
        try:
            stored = StoredWorker.model_validate(state)
        except ValidationError as error:
            raise InvalidInput(f"what is stored of a placement has {error.error_count()} mistakes") from error
        self._reviewed_on = now if self._reviewed_on is None else self._reviewed_on
        routes = stored.again(self._settings.most_entries, self._reviewed_on - age)
        for route in routes.routes.values():
            for entry in route.entries.values():
                entry.fade(age)
        self._workers[worker] = routes

    def review(self, now: float) -> list[PlacementExplanation]:
        """Decide for every route and entry."""
        passed = 0.0 if self._reviewed_on is None else max(now - self._reviewed_on, 0.0)
        self._reviewed_on = now
        changed = []
        for routes in self._workers.values():
            for name, route in routes.routes.items():
                ends = self._back_ends(routes, name)
                for entry_name, entry in route.entries.items():
                    entry.fade(passed)
                    if entry.slowness.trial is not None:
                        entry.slowness.trial.go_on()
                    before = (entry.location, entry.status)
                    self._decide(entry_name, entry, ends, route.profile.invocations, now)
                    if (entry.location, entry.status) != before:
                        changed.append(self._explain(routes, name, entry_name, now))
        return changed

    def explain(self, worker: str) -> list[PlacementExplanation]:
        """As of now, with what was measured since the last review."""
        now = self._reviewed_on or 0.0
        routes = self._workers.get(worker)
        if routes is None:
            return []
        return [
            self._explain(routes, name, entry, now)
            for name, route in routes.routes.items()
            for entry in route.entries
        ]

    # ---- the decision

    def _decide(self, name: str, entry: Entry, ends: BackEnds, invocations: int, now: float) -> None:
        if entry.status is PlacementStatus.UNSUPPORTED_APPLICATION:
            return
        if invocations < self._settings.min_invocations:
            return
        at_least, at_most = ends.calls
        # what has moved goes back, and what has not stays, only where the other is beyond doubt
        if (at_least if entry.location == name else at_most) <= ONE_CALL:
            self._settle(entry, "one call to a back end or none: it runs near its visitor")
            entry.slowness.trial = None
            if entry.location != name and self._may_move(entry, 1.0, now):
                entry.move(name, name, 0.0, now)
            return
        weighing = self._weigh(name, entry, ends, now)
        best = fastest(weighing.expected, [entry.location, name, *self._alive])
        if best is None or entry.location not in weighing.expected:
            entry.reason = "not all ways are measured yet"
            return
        self._consider(name, entry, best, weighing, now)
        if entry.location != name and entry.slowness.late:
            entry.slowness.late = late_at(name, entry, weighing)
        trying = Trying(name=name, entry=entry, weighing=weighing, settings=self._settings, now=now)
        if (won := trying.go_on()) is not None:
            self._follow(name, entry, won, weighing, now)

    def _consider(self, name: str, entry: Entry, best: str, weighing: Weighing, now: float) -> None:
        present = weighing.expected[entry.location]
        gain = present - weighing.expected[best]
        share = gain / present if present else 0.0
        # that requests take longer than expected is beyond doubt: to leave is no whim
        times = 1.0 if weighing.surprise > 0.0 else entry.damping.times(now)
        if best == entry.location:
            self._settle(entry, "no location is faster")
        elif gain < self._settings.min_gain_ms or not self._may_move(entry, share, now, times):
            self._settle(entry, f"{best} would be {share:.1%} faster: not enough to move for, or too soon")
        else:
            self._move(name, entry, best, weighing, surprise=weighing.surprise, now=now)
        if entry.decided_on is None:
            entry.decided_on = now

    def _may_move(self, entry: Entry, share: float, now: float, times: float = 1.0) -> bool:
        """Whether a gain is large enough by now; unless it is very large, `times` what is usual is asked."""
        if entry.decided_on is None:
            return share >= self._settings.margin
        since = now - (entry.decided_on if entry.moved_on is None else entry.moved_on)
        if share >= min(LARGE_GAIN * times, VERY_LARGE_GAIN):
            return entry.moved_on is None or since >= self._settings.dwell_seconds
        return share >= self._settings.refine_margin * times and since >= self._settings.refine_seconds

    def _follow(self, name: str, entry: Entry, won: Trial, weighing: Weighing, now: float) -> None:
        """Run where requests were tried and are faster, and go on from what was seen in the trial."""
        left, ways, in_vain = entry.location, weighing.travel, entry.slowness.in_vain or {}
        slower, there = work_of(won.stayed, ways[left]), work_of(won.there, ways[won.location])
        self._move(name, entry, won.location, weighing, surprise=slower - weighing.work, now=now)
        entry.replace_present(name, won.there)
        work = weighing.work
        if left == name:
            entry.baseline = won.stayed
            entry.slowness.late, work = max(slower - there, 0.0), there
        entry.remember({place: tried - work for place, tried in in_vain.items() if tried is not None}, now)

    def _move(
        self, name: str, entry: Entry, best: str, weighing: Weighing, *, surprise: float, now: float
    ) -> None:
        left = entry.location
        # By the distances it should stay: that it goes back is what was observed, and so it was in vain.
        in_vain = best == name and weighing.travel[left].ms < weighing.travel[name].ms
        entry.move(name, best, surprise, now)
        if entry.decided_on is not None:
            entry.damping.add(now)
        if in_vain:
            entry.status = PlacementStatus.UNSUPPORTED_APPLICATION
            entry.reason = f"at {left} it was slower than near its visitor"
        else:
            self._settle(entry, f"faster than at {left}")

    def _settle(self, entry: Entry, reason: str) -> None:
        entry.status = PlacementStatus.SUCCESS
        entry.reason = reason

    # ---- what it rests on

    def _back_ends(self, routes: Routes, route: str) -> BackEnds:
        return back_ends(
            routes.routes[route].profile,
            self._latency,
            self._alive,
            self._excluded,
            same=self._settings.same_from_everywhere_ms,
        )

    def _weigh(self, name: str, entry: Entry, ends: BackEnds, now: float) -> Weighing:
        ways = {location: travel(name, location, ends, self._latency) for location in self._alive}
        return weigh(name, entry, ways, now)

    def _explain(self, routes: Routes, route: str, name: str, now: float) -> PlacementExplanation:
        found = routes.routes[route]
        entry = found.entries[name]
        ends = self._back_ends(routes, route)
        weighing = self._weigh(name, entry, ends, now)
        return PlacementExplanation(
            route=route,
            entry=name,
            location=entry.location,
            status=entry.status,
            reason=entry.reason,
            invocations=found.profile.invocations,
            rounds=ends.rounds,
            excluded=ends.excluded,
            tried={trial.location: SHARE} if (trial := entry.slowness.trial) is not None else {},
            candidates=[
                _weighed(name, location, entry, weighing)
                for location in sorted(self._alive, key=lambda place: weighing.expected.get(place, math.inf))
            ],
        )


def _weighed(name: str, location: str, entry: Entry, weighing: Weighing) -> WeighedLocation:
    durations = entry.baseline if location == name else entry.here if location == entry.location else None
    return WeighedLocation(
        location=location,
        expected_ms=weighing.expected.get(location),
        observed_ms=durations.typical_ms if durations else None,
        requests=int(durations.requests) if durations else 0,
        refused=weighing.travel[location].unknown,
    )
