"""Where each request of a worker runs: asks the policy, and feeds it with what was seen."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from kedge.contracts.request_placement import PlacementStatus, ServedRequest
from kedge.placement.routes import route_of
from kedge.workers.egress.ledger import Speech
from kedge.workers.lru import Lru
from kedge.workers.places.durations import MOST_WORKERS, Durations, Series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kedge.contracts.request_placement import BackEndCall, PlacementExplanation, RequestPlacement
    from kedge.placement.peers import Peer
    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.places.exchange import Exchange
    from kedge.workers.places.prober import Prober

log = structlog.get_logger("placement")

REVIEW_SECONDS = 2.0
#: the first of these that a route has is what is said of its worker
STATUSES = (
    PlacementStatus.SUCCESS,
    PlacementStatus.UNSUPPORTED_APPLICATION,
    PlacementStatus.INSUFFICIENT_INVOCATIONS,
)


@dataclass(frozen=True)
class Place:
    """Where one request runs."""

    location: str
    #: the node there; `None` for this one
    peer: Peer | None
    #: whether that was decided for it, rather than left alone
    placed: bool
    route: str


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
        #: worker → the version that served it last
        self._versions: Lru[str, str] = Lru(MOST_WORKERS)
        self._alive()

    async def run(self) -> None:
        """Measure, exchange and review, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._prober.run())
            if self._exchange is not None:
                group.create_task(self._exchange.run(measured=self._measured, changed=self._alive))
            group.create_task(self._review())

    def choose(self, worker_id: str, wish: Mapping[str, str], path: str) -> Place | None:
        """Where a request runs; `None` for a worker that has no wish, which runs here."""
        mode = wish.get("mode")
        if mode == "smart" and self._policy is not None:
            route = route_of(path)
            chosen = self._policy.choose(worker_id, route, self.here)
            return self._place(chosen.location, route, placed=chosen.placed)
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
        self.durations.record(worker_id, Series(place.route, place.location, place.placed), duration_ms)
        if self._policy is None or calls is None or not place.route:
            return
        for call in {call.host for group in calls for call in group}:
            self._prober.want(call, self._ledger.speech(call))
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
        if self._exchange is not None and self._exchange.lost(peer):
            log.warning("peer_lost", peer=peer.name)
            self._alive()

    def seen(self, worker_id: str, version_id: str) -> None:
        """A version serves a worker alone. If it is another than before, what was learnt may be wrong now."""
        before = self._versions.get(worker_id)
        if before != version_id:
            self._versions.put(worker_id, version_id)
            if before is not None:
                self._forget(worker_id)

    def _forget(self, worker_id: str) -> None:
        self.durations.forget(worker_id)
        if self._policy is not None:
            self._policy.forget(worker_id)

    @property
    def locations(self) -> list[str]:
        """Where requests can run now."""
        alive = set() if self._exchange is None else self._exchange.alive
        return sorted({self.here, *(peer.location for name, peer in self._peers.items() if name in alive)})

    def explain(self, worker_id: str) -> list[PlacementExplanation]:
        """Why its requests that come in here run where they run."""
        return [] if self._policy is None else self._policy.explain(worker_id)

    def status(self, worker_id: str) -> PlacementStatus | None:
        """How the placement of a worker stands, all of its routes together; `None` if nothing is known."""
        found = {one.status for one in self.explain(worker_id)}
        return next((status for status in STATUSES if status in found), None)

    @property
    def regions(self) -> dict[str, list[str]]:
        """The locations in each `PROVIDER:REGION` where requests can run now."""
        alive = set() if self._exchange is None else self._exchange.alive
        there = {(peer.region, peer.location) for name, peer in self._peers.items() if name in alive}
        regions: dict[str, list[str]] = {}
        for region, location in sorted({*there, (self._region, self.here)}, key=str):
            if region is not None:
                regions.setdefault(region, []).append(location)
        return regions

    # ---- inside

    def _place(self, location: str, route: str, *, placed: bool) -> Place:
        if location == self.here or self._exchange is None:
            return Place(self.here, None, placed and location == self.here, route)
        for peer in self._peers.values():
            if peer.location == location and peer.name in self._exchange.alive:
                return Place(location, peer, placed, route)
        return Place(self.here, None, False, route)

    def _target(self, wish: Mapping[str, str]) -> str:
        """The location that a hint means; this one if none does."""
        if region := wish.get("region"):
            if region in {self._region, self.here}:
                return self.here
            near = (peer for peer in self._peers.values() if region in {peer.region, peer.location})
            return next((peer.location for peer in near), self.here)
        host, hostname = wish.get("host"), wish.get("hostname")
        label = host or f"{hostname}:443"
        self._prober.want(label, Speech.OTHER if host else Speech.TLS)
        distances = {location: known[label] for location, known in self._distances.items() if label in known}
        if label in (results := self._prober.results()):
            distances[self.here] = results[label]
        return min(distances, key=distances.__getitem__, default=self.here)

    def _measured(self, source: str, target: str, milliseconds: float) -> None:
        self._distances.setdefault(source, {})[target] = milliseconds
        if self._policy is not None:
            self._policy.measured(source, target, milliseconds)

    def _alive(self) -> None:
        if self._policy is not None:
            self._policy.set_locations(self.locations)
        for gone in self._distances.keys() - set(self.locations):
            del self._distances[gone]

    async def _review(self) -> None:
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            if self._policy is None:
                continue
            for target, milliseconds in self._prober.results().items():
                self._policy.measured(self.here, target, milliseconds)
            for change in self._policy.review(time.monotonic()):
                log.info(
                    "placement_changed",
                    route=change.route,
                    location=change.location,
                    status=change.status,
                    reason=change.reason,
                )
