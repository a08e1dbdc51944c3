"""A world of locations, back ends and visitors, made up from a seed, in which requests take known times.

For policies of request placement: the same code that a node runs decides here, thousands of times faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kedge.contracts.request_placement import BackEndCall

if TYPE_CHECKING:
    from random import Random

#: light in fibre, there and back, for the half of the way round the earth
FURTHEST_MS = 200.0
#: takes events that no response waits for
INTAKE = "intake.example.org"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point on the earth."""

    x: float
    y: float
    z: float

    def rtt(self, other: Place) -> float:
        """The least round-trip time between two points, in milliseconds."""
        cosine = self.x * other.x + self.y * other.y + self.z * other.z
        return FURTHEST_MS * math.acos(max(-1.0, min(1.0, cosine))) / math.pi


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call to a back end: so many round trips, then so long at work there."""

    host: str
    rounds: int
    server_ms: float
    awaited: bool = True


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Calls side by side, made with some probability; the next stage waits for the slowest."""

    calls: tuple[Call, ...]
    probability: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SimulatedRoute:
    """What an invocation of a route does."""

    name: str
    share: float
    compute_ms: float
    stages: tuple[Stage, ...]

    @property
    def calls(self) -> float:
        """Awaited calls in an invocation, on average."""
        return sum(stage.probability * sum(call.awaited for call in stage.calls) for stage in self.stages)


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlannedStage:
    probability: float
    slowest_ms: float
    #: back end, milliseconds, round trips, whether the response waits for it
    calls: list[tuple[str, float, int, bool]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What a route does at a location, reckoned once for thousands of requests."""

    compute_ms: float
    stages: list[_PlannedStage]


@dataclass
class World:
    """Locations, ways between them and to back ends, routes, and visitors."""

    locations: list[str]
    #: (location, location or back end) → milliseconds there and back
    ways: dict[tuple[str, str], float]
    routes: list[SimulatedRoute]
    #: where requests come in → share of them
    visitors: dict[str, float]
    #: standard deviation of the logarithm of a request's duration
    noise: float
    #: the same of a measured round-trip time
    probe_noise: float
    #: part of the probes that tell something else altogether
    lies: float = 0.0
    #: how much slower a location computes
    slowness: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    #: locations whose probes tell that everything is next to them
    liars: set[str] = field(default_factory=set)
    #: (route, location) → what happens there
    _plans: dict[tuple[str, str], _Plan] = field(default_factory=dict, init=False, repr=False)

    def way(self, source: str, target: str) -> float:
        """The true round-trip time."""
        return 0.0 if source == target else self.ways[source, target]

    def duration(self, route: SimulatedRoute, entry: str, location: str) -> float:
        """How long a request takes on average, in milliseconds."""
        total = self.way(entry, location) + route.compute_ms * self.slowness.get(location, 1.0)
        for stage in route.stages:
            slowest = max((self._call(location, call) for call in stage.calls if call.awaited), default=0.0)
            total += stage.probability * slowest
        return total

    def best(self, route: SimulatedRoute, entry: str) -> float:
        """The shortest average at any location that works."""
        return min(self.duration(route, entry, location) for location in self.alive)

    @property
    def alive(self) -> list[str]:
        """Locations that work."""
        return [location for location in self.locations if location not in self.failed]

    def changed(self) -> None:
        """A way, a route or a machine is another from now on: to be called after such a change."""
        self._plans.clear()

    def serve(
        self, rng: Random, route: SimulatedRoute, entry: str, location: str
    ) -> tuple[float, list[list[BackEndCall]]]:
        """One request: its duration, and its calls as an egress proxy sees them."""
        plan = self._plans.get((route.name, location))
        if plan is None:
            plan = self._plans[route.name, location] = self._plan(route, location)
        noise = rng.lognormvariate(0.0, self.noise)
        total = self.way(entry, location) + plan.compute_ms
        calls = []
        for stage in plan.stages:
            if stage.probability < 1.0 and rng.random() >= stage.probability:
                continue
            total += stage.slowest_ms
            calls.append(
                [
                    BackEndCall(host=host, duration_ms=ms * noise, rounds=rounds, awaited=awaited)
                    for host, ms, rounds, awaited in stage.calls
                ]
            )
        return total * noise, calls

    def probe(self, rng: Random, source: str, target: str) -> float:
        """A measured round-trip time: never shorter than the true one, but for lies."""
        if source in self.liars:
            return 0.1
        if rng.random() < self.lies:
            return rng.uniform(0.1, 500.0)
        return self.way(source, target) * (1.0 + abs(rng.gauss(0.0, self.probe_noise)))

    def _plan(self, route: SimulatedRoute, location: str) -> _Plan:
        stages = []
        for stage in route.stages:
            took = [
                (call.host, self._call(location, call), call.rounds, call.awaited) for call in stage.calls
            ]
            slowest = max((ms for _, ms, _, awaited in took if awaited), default=0.0)
            stages.append(_PlannedStage(probability=stage.probability, slowest_ms=slowest, calls=took))
        return _Plan(compute_ms=route.compute_ms * self.slowness.get(location, 1.0), stages=stages)

    def _call(self, location: str, call: Call) -> float:
        return call.rounds * self.way(location, call.host) + call.server_ms


def make_world(rng: Random) -> World:
    """3 to 30 locations, 1 to 6 back ends, 1 to 4 routes, and visitors at one to eight of the locations."""
    points = {f"loc{number}": _point(rng) for number in range(rng.randint(3, 30))}
    locations = list(points)
    ways = {}
    for index, one in enumerate(locations):
        for other in locations[index + 1 :]:
            ways[one, other] = ways[other, one] = _way(rng, points[one], points[other])
    hosts = [f"api{number}.example.com" for number in range(rng.randint(1, 6))]
    for host in (*hosts, INTAKE):
        _connect(rng, ways, points, host)
    entries = rng.sample(locations, min(len(locations), rng.randint(1, 8)))
    return World(
        locations=locations,
        ways=ways,
        routes=_routes(rng, hosts),
        visitors=_shares(rng, entries),
        noise=rng.uniform(0.05, 0.4),
        probe_noise=rng.uniform(0.0, 0.1),
        lies=rng.choice([0.0, 0.0, 0.02, 0.1]),
    )


def _point(rng: Random) -> Place:
    x, y, z = (rng.gauss(0.0, 1.0) for _ in range(3))
    length = math.sqrt(x * x + y * y + z * z) or 1.0
    return Place(x=x / length, y=y / length, z=z / length)


def _way(rng: Random, one: Place, other: Place) -> float:
    return 0.5 + one.rtt(other) * rng.uniform(1.1, 1.8)


def _connect(rng: Random, ways: dict[tuple[str, str], float], points: dict[str, Place], host: str) -> None:
    kind = rng.random()
    if kind < 0.15:
        # a globally distributed service: near to everybody
        ways |= {(location, host): rng.uniform(1.0, 6.0) for location in points}
        return
    near = points[rng.choice(list(points))] if kind < 0.8 else _point(rng)
    ways |= {(location, host): _way(rng, point, near) for location, point in points.items()}


def _routes(rng: Random, hosts: list[str]) -> list[SimulatedRoute]:
    shares = _shares(rng, [f"/route{number}" for number in range(rng.randint(1, 4))])
    return [
        SimulatedRoute(
            name=name,
            share=share,
            compute_ms=rng.uniform(0.5, 20.0),
            stages=tuple(_stage(rng, hosts) for _ in range(rng.choice([0, 1, 1, 2, 3, 3, 4, 6]))),
        )
        for name, share in shares.items()
    ]


def _stage(rng: Random, hosts: list[str]) -> Stage:
    calls = [
        Call(host=rng.choice(hosts), rounds=rng.choice([1, 1, 1, 2, 3]), server_ms=rng.uniform(0.2, 15.0))
        for _ in range(rng.choice([1, 1, 1, 2, 3]))
    ]
    if rng.random() < 0.15:
        calls.append(Call(host=INTAKE, rounds=1, server_ms=1.0, awaited=False))
    return Stage(calls=tuple(calls), probability=rng.choice([1.0, 1.0, 1.0, 0.5, 0.1]))


def _shares(rng: Random, names: list[str]) -> dict[str, float]:
    weights = {name: rng.uniform(0.2, 1.0) for name in names}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
