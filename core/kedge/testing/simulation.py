"""Runs a policy of request placement in a simulated world, and tells how far from the best it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from kedge.contracts.request_placement import ServedRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from kedge.contracts.request_placement import PlacementExplanation, RequestPlacement
    from kedge.testing.simulated_world import SimulatedRoute, World

WORKER = "worker"
#: seconds between two reviews, and between two measurements of every way
STEP = 30.0
PROBES_EVERY = 60.0
#: seconds between two looks at where requests run; a move is counted however short it was
LOOK_EVERY = 300.0


@dataclass
class Result:
    """What came of it. Regret is the share by which requests took longer than at the best location."""

    #: average durations where requests were placed, and where they were best, weighted by traffic
    taken: float = 0.0
    best: float = 0.0
    unplaced: float = 0.0
    #: changes of location of each (route, entry)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    requests: int = 0
    days: float = 0.0
    #: requests sent to a location that did not work
    lost: int = 0
    #: how often a route with one call or none was seen away from its visitor
    misplaced: int = 0

    @property
    def regret(self) -> float:
        """0: every request ran where it is fastest."""
        return self.taken / self.best - 1.0 if self.best else 0.0

    @property
    def moves_a_day(self) -> float:
        """Of the (route, entry) that moved most."""
        return max(self.moves.values(), default=0) / self.days if self.days else 0.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens to the world; what follows until `settled` seconds later is not counted."""

    at: float
    change: Callable[[World], None]
    settled: float


class Simulation:
    """One policy in one world."""

    def __init__(self, policy: RequestPlacement, world: World, rng: Random, *, rate: float) -> None:
        """`rate` requests come in each second."""
        self.policy = policy
        self.world = world
        self.now = 0.0
        self._rng = rng
        self._rate = rate
        self._probed = -PROBES_EVERY
        self._looked = 0.0
        self._counted_from = 0.0
        self._placed: dict[tuple[str, str], str] = {}
        self._shares = list(accumulate(route.share for route in world.routes))
        policy.set_locations(world.alive)

    def run(self, seconds: float, *, warm_up: float, events: tuple[Event, ...] = ()) -> Result:
        """Go on for so long; nothing of the first `warm_up` seconds is counted."""
        result = Result()
        self._counted_from = self.now + warm_up
        self.world.changed()
        end, coming = self.now + seconds, sorted(events, key=lambda event: event.at)
        while self.now < end:
            while coming and coming[0].at <= self.now:
                event = coming.pop(0)
                event.change(self.world)
                self.world.changed()
                self._counted_from = max(self._counted_from, self.now + event.settled)
                self.policy.set_locations(self.world.alive)
            self._step(result)
        return result

    def _step(self, result: Result) -> None:
        if self.now - self._probed >= PROBES_EVERY:
            self._probe()
        for _ in range(max(1, round(self._rate * STEP))):
            self._request(result)
        self.now += STEP
        self._count_moves(result, self.policy.review(self.now))
        if self.now - self._looked >= LOOK_EVERY:
            self._look(result)

    def _probe(self) -> None:
        self._probed = self.now
        alive = set(self.world.alive)
        for source, target in self.world.ways:
            if source in alive and (target in alive or target not in self.world.locations):
                self.policy.measured(source, target, self.world.probe(self._rng, source, target))

    def _request(self, result: Result) -> None:
        route = self._rng.choices(self.world.routes, cum_weights=self._shares)[0]
        entry = self._entry()
        choice = self.policy.choose(WORKER, route.name, entry)
        result.requests += 1
        if choice.location in self.world.failed:
            result.lost += 1
            return
        duration, calls = self.world.serve(self._rng, route, entry, choice.location)
        self.policy.record(
            ServedRequest(
                worker=WORKER,
                route=route.name,
                entry=entry,
                location=choice.location,
                duration_ms=duration,
                placed=choice.placed,
                calls=calls,
            )
        )

    def _entry(self) -> str:
        """Where the next visitor comes in: elsewhere, if his own locations have all failed."""
        shares = {name: share for name, share in self.world.visitors.items() if name not in self.world.failed}
        if not shares:
            return self.world.alive[0]
        return self._rng.choices(list(shares), list(shares.values()))[0]

    def _count_moves(self, result: Result, changed: list[PlacementExplanation]) -> None:
        for explanation in changed:
            place = (explanation.route, explanation.entry)
            before = self._placed.get(place, explanation.entry)
            self._placed[place] = explanation.location
            if self.now > self._counted_from:
                result.moves[place] += before != explanation.location

    def _look(self, result: Result) -> None:
        """Where requests run now, and what that takes."""
        passed, self._looked = self.now - self._looked, self.now
        if self.now <= self._counted_from:
            return
        result.days += passed / 86400.0
        routes = {route.name: route for route in self.world.routes}
        for explanation in self.policy.explain(WORKER):
            if explanation.entry not in self.world.failed:
                self._weigh(result, routes[explanation.route], explanation)

    def _weigh(self, result: Result, route: SimulatedRoute, explanation: PlacementExplanation) -> None:
        entry, tried = explanation.entry, explanation.tried
        if route.calls <= 1.0 and (explanation.location != entry or tried):
            result.misplaced += 1
        weight = route.share * self.world.visitors.get(entry, 0.0)
        unplaced = self.world.duration(route, entry, entry)
        # a route with one call or none is best where it comes in, by definition
        best = unplaced if route.calls <= 1.0 else self.world.best(route, entry)
        shares = {explanation.location: 1.0 - sum(tried.values())} | tried
        result.taken += weight * sum(
            share * self.world.duration(route, entry, location) for location, share in shares.items()
        )
        result.best += weight * best
        result.unplaced += weight * unplaced
