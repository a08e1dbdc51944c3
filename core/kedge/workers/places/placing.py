"""Where each request of a worker runs: asks the policy, and feeds it with what was seen."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import structlog

from kedge.contracts.request_placement import PlacementStatus, ServedRequest
from kedge.db.clock import now_ms
from kedge.placement.routes import route_of
from kedge.workers.egress.ledger import Speech
from kedge.workers.lru import Lru
from kedge.workers.places.durations import MOST_WORKERS, Durations, Series
from kedge.workers.places.sampling import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kedge.contracts.request_placement import BackEndCall, PlacementExplanation, RequestPlacement
    from kedge.placement.control_plane import ControlPlane, Weighed
    from kedge.placement.peers import Peer
    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.places.exchange import Exchange
    from kedge.workers.places.prober import Prober

log = structlog.get_logger("placement")

REVIEW_SECONDS = 2.0
#: places that are remembered
MOST_PLACES = 4096
#: of paths longer than this it is not remembered
LONGEST_PATH = 200
#: a node has so many seconds to be found again after a restart of this one
PATIENCE = 15.0
#: the first of these that a route has is what is said of its worker
STATUSES = (
    PlacementStatus.SUCCESS,
    PlacementStatus.UNSUPPORTED_APPLICATION,
    PlacementStatus.INSUFFICIENT_INVOCATIONS,
)


def status_of(statuses: Iterable[str]) -> PlacementStatus | None:
    """How the placement of a worker stands, given those of its routes; `None` if nothing is known."""
    found = set(statuses)
    return next((status for status in STATUSES if status in found), None)


@dataclass(frozen=True)
class Place:
    """Where one request runs."""

    location: str
    #: the node there; `None` for this one
    peer: Peer | None
    #: whether that was decided for it, rather than left alone
    placed: bool
    route: str
    #: whether all requests for its path run there, until it is decided anew
    lasting: bool = False

    @cached_property
    def told(self) -> bytes:
        """What a visitor is told whose answer comes from there."""
        return b"%b-%b" % (b"local" if self.peer is None else b"remote", self.location.encode())

    @cached_property
    def line(self) -> bytes:
        """The same, as it stands in a head."""
        return b"cf-placement: %b\r\n" % self.told


class Placing:
    """One for a node. `choose` looks at nothing but memory."""

    def __init__(
        self,
        here: str,
        *,
        region: str | None,
        peers: Mapping[str, Peer],
        exchange: Exchange | None,
        policy: RequestPlacement | None,
        prober: Prober,
        ledger: Ledger,
    ) -> None:
        """Without peers every request runs here; without a policy only hints are followed."""
        self.here = here
        self._region = region
        self._peers = peers
        self._exchange = exchange
        self._policy = policy
        self._prober = prober
        self._ledger = ledger
        #: location → target → milliseconds, for hints
        self._distances: dict[str, dict[str, float]] = {}
        self.durations = Durations()
        #: which requests are measured, by `record`
        self.sampling = Sampling()
        #: what `_place` gave since the nodes that answer were others
        self._known_places: dict[tuple[str, str, bool, bool], Place] = {}
        #: version and path → where its requests run, until it is decided anew
        self.lasting: dict[tuple[str, bytes], Place] = {}
        #: worker → the version that served it last
        self._versions: Lru[str, str] = Lru(MOST_WORKERS)
        #: set when a decision was made or became void
        self.decided = asyncio.Event()
        #: workers of which more is known than `take_touched` told last
        self._touched: set[str] = set()
        #: where requests ran before a restart: a node there may not be found yet
        self._expected: set[str] = set()
        self._expected_until = 0.0
        #: when the policy decided last, in milliseconds since 1970
        self.analyzed_on: int | None = None
        self._alive()

    async def run(self) -> None:
        """Measure, exchange and review, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._prober.run())
            if self._exchange is not None:
                group.create_task(self._exchange.run(measured=self.measured, changed=self._alive))
            group.create_task(self._review())

    def keep(self, version_id: str, path: bytes, place: Place) -> None:
        """Where requests for a path of a version run need not be asked again, if it is lasting."""
        if place.lasting and len(path) <= LONGEST_PATH:
            if len(self.lasting) >= MOST_PLACES:
                self.lasting.clear()
            self.lasting[version_id, path] = place

    def choose(self, worker_id: str, wish: Mapping[str, str], path: str) -> Place | None:
        """Where a request runs; `None` for a worker that has no wish, which runs here."""
        mode = wish.get("mode")
        if mode == "smart" and self._policy is not None:
            route = route_of(path)
            chosen = self._policy.choose(worker_id, route, self.here)
            return self._place(chosen.location, route, placed=chosen.placed, lasting=chosen.lasting)
        if mode == "targeted":
            return self._place(self._target(wish), "", placed=True)
        return None

    def served(
        self,
        worker_id: str,
        place: Place,
        duration_ms: float,
        calls: Sequence[Sequence[BackEndCall]] | None,
    ) -> None:
        """A request was answered; `calls` are those that its answer waited for, if they are known."""
        if stands_for := self.sampling.stands_for(worker_id):
            self.record(worker_id, place, duration_ms, calls, stands_for=stands_for)

    def record(
        self,
        worker_id: str,
        place: Place,
        duration_ms: float,
        calls: Sequence[Sequence[BackEndCall]] | None,
        *,
        stands_for: int,
    ) -> None:
        """Learn from a request that was found before to stand for so many; otherwise as `served`."""
        series = Series(place.route, place.location, place.placed)
        self.durations.record(worker_id, series, duration_ms, stands_for=stands_for)
        if self._policy is None or calls is None or not place.route:
            return
        for call in {call.host for group in calls for call in group}:
            self._prober.want(call, self._ledger.speech(call))
        self._touched.add(worker_id)
        self._policy.record(
            ServedRequest(
                worker=worker_id,
                route=place.route,
                entry=self.here,
                location=place.location,
                duration_ms=duration_ms,
                placed=place.placed,
                calls=calls,
            )
        )

    def lost(self, peer: Peer) -> None:
        """A peer did not answer: nothing is sent there until it does again."""
        if self._exchange is not None and self._exchange.presence.lost(peer):
            log.warning("peer_lost", peer=peer.name)
            self._alive()

    def instead(self, place: Place) -> Place:
        """Where a request runs whose node was lost: by another of its location, else here."""
        return self._place(place.location, place.route, placed=place.placed)

    def seen(self, worker_id: str, version_id: str) -> None:
        """A version serves a worker alone. If it is another than before, what was learnt may be wrong now."""
        before = self._versions.get(worker_id)
        if before != version_id:
            self._versions.put(worker_id, version_id)
            if before is not None:
                self._forget(worker_id)

    def _forget(self, worker_id: str) -> None:
        self.lasting.clear()
        self.durations.forget(worker_id)
        if self._policy is not None:
            self._policy.forget(worker_id)
            self._touched.add(worker_id)
            self.decided.set()

    # ---- what outlives a restart

    def restore(self, worker_id: str, version_id: str, state: Mapping[str, Any], *, age: float) -> None:
        """Know again what was known `age` seconds ago.

        Raises `InvalidInput` for what another policy wrote.
        """
        if self._policy is None:
            return
        now = time.monotonic()
        self._policy.load(worker_id, state, now=now, age=age)
        if version_id:
            self._versions.put(worker_id, version_id)
        self._expected |= {one.location for one in self._policy.explain(worker_id)}
        self._expected_until = now + PATIENCE
        self._alive()

    def take_touched(self) -> set[str]:
        """The workers of which something new is known since the last call."""
        taken, self._touched = self._touched, set()
        return taken

    def dump(self, worker_id: str) -> Mapping[str, Any] | None:
        """What is known of a worker, for `restore`."""
        return None if self._policy is None else self._policy.dump(worker_id)

    def version_of(self, worker_id: str) -> str:
        """The version that served a worker last; empty if its traffic has been split since the start."""
        return self._versions.get(worker_id) or ""

    def ways_from_here(self) -> dict[str, float]:
        """The round-trip times from this location that were measured."""
        return {**self._distances.get(self.here, {}), **self._prober.results()}

    @property
    def smart(self) -> bool:
        """Whether a policy decides for workers that ask for it."""
        return self._policy is not None

    @property
    def locations(self) -> list[str]:
        """Where requests can run now."""
        there = (peer.location for name, peer in self._peers.items() if name in self._there)
        return sorted({self.here, *there})

    def explain(self, worker_id: str) -> list[PlacementExplanation]:
        """Why its requests that come in here run where they run."""
        return [] if self._policy is None else self._policy.explain(worker_id)

    def distances(self, targets: Iterable[str]) -> dict[str, dict[str, float]]:
        """Location → `HOST:PORT` → milliseconds, as far as they are known; each is measured from now on."""
        for target in targets:
            self._prober.want(target, Speech.TLS if target.endswith(":443") else Speech.OTHER)
        return {**self._distances, self.here: self.ways_from_here()}

    def nearer_database(self, control_plane: ControlPlane) -> Peer | None:
        """The node that does the API's next write; `None` for this one."""
        return control_plane.choose(self._peers, self.ways_from_here(), self._there)

    def weigh_database(self, control_plane: ControlPlane) -> list[Weighed]:
        """This node and the others that answer, and what a write would take at each."""
        return control_plane.weigh(self.ways_from_here(), self._there)

    @property
    def regions(self) -> dict[str, list[str]]:
        """The locations in each `PROVIDER:REGION` where requests can run now."""
        there = {(peer.region, peer.location) for name, peer in self._peers.items() if name in self._there}
        regions: dict[str, list[str]] = {}
        for region, location in sorted({*there, (self._region, self.here)}, key=str):
            if region is not None:
                regions.setdefault(region, []).append(location)
        return regions

    # ---- inside

    @property
    def _there(self) -> set[str]:
        """The names of the peers that answer."""
        return set() if self._exchange is None else self._exchange.presence.there

    def _place(self, location: str, route: str, *, placed: bool, lasting: bool = False) -> Place:
        key = location, route, placed, lasting
        known = self._known_places.get(key)
        if known is None:
            if len(self._known_places) >= MOST_PLACES:
                self._known_places.clear()
            known = self._known_places[key] = self._find_place(*key)
        return known

    def _find_place(self, location: str, route: str, placed: bool, lasting: bool) -> Place:  # noqa: FBT001
        if location == self.here or self._exchange is None:
            return Place(self.here, None, placed and location == self.here, route, lasting)
        for peer in self._peers.values():
            if peer.location == location and peer.name in self._there:
                return Place(location, peer, placed, route)
        return Place(self.here, None, False, route)

    def _target(self, wish: Mapping[str, str]) -> str:
        """The location that a hint means; this one if none does."""
        if region := wish.get("region"):
            if region in {self._region, self.here}:
                return self.here
            near = {peer.location for peer in self._peers.values() if region in {peer.region, peer.location}}
            alive, ways = set(self.locations), self.ways_from_here()
            # one that is gone gives way to the next of its region
            rank = {place: (place not in alive, ways.get(place, math.inf), place) for place in near}
            return min(near, key=rank.__getitem__, default=self.here)
        host, hostname = wish.get("host"), wish.get("hostname")
        label = host or f"{hostname}:443"
        self._prober.want(label, Speech.OTHER if host else Speech.TLS)
        distances = {location: known[label] for location, known in self._distances.items() if label in known}
        if label in (results := self._prober.results()):
            distances[self.here] = results[label]
        return min(distances, key=distances.__getitem__, default=self.here)

    def measured(self, source: str, target: str, milliseconds: float) -> None:
        """A round-trip time is known, from here or from elsewhere."""
        self._distances.setdefault(source, {})[target] = milliseconds
        if self._policy is not None:
            self._policy.measured(source, target, milliseconds)

    def _alive(self) -> None:
        self._known_places.clear()
        self.lasting.clear()
        if self._policy is not None:
            # Until a node of such a location is found its requests run here, and nothing is decided anew.
            self._policy.set_locations(sorted({*self.locations, *self._expected}))
        for gone in self._distances.keys() - {*self.locations, *self._expected}:
            del self._distances[gone]

    async def _review(self) -> None:
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            if self._policy is None:
                continue
            for target, milliseconds in self._prober.results().items():
                self._policy.measured(self.here, target, milliseconds)
            now = time.monotonic()
            if self._expected and now >= self._expected_until:
                self._expected.clear()
                self._alive()
            self.analyzed_on = now_ms()
            self.lasting.clear()
            for change in self._policy.review(now):
                self.decided.set()
                log.info(
                    "placement_changed",
                    route=change.route,
                    location=change.location,
                    status=change.status,
                    reason=change.reason,
                )
