"""Decides which queued builds start now, and starts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from kedge.builds.adoption import finish_what_was_ended
from kedge.builds.buddy import BuildBuddy
from kedge.builds.fair_share import in_turn
from kedge.contracts.attempt_name import AttemptName
from kedge.contracts.placement import PlacementRequest
from kedge.db.clock import now_ms
from kedge.db.engine import after_commit
from kedge.db.queries import lifecycle, queue
from kedge.db.queries.lifecycle import Claim
from kedge.db.queries.nodes import present
from kedge.db.queries.queue import Load
from kedge.objects import DurableObject, ObjectStorage, transaction
from kedge.placement.build_places import BuildPlaces
from kedge.placement.chain import Refused
from kedge.tokens import derive_token, hash_token, new_token

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.builds.services import BuildServices
    from kedge.contracts.placement import Candidate
    from kedge.db.queries.nodes import Present
    from kedge.db.queries.queue import Waiting

log = structlog.get_logger("scheduler")

ROUND_MS = 1000
#: how far back builds are looked for whose caches may be warm
BUILT_MS = 30 * 24 * 3600 * 1000


class Scheduler(DurableObject):
    """One for all. Its alarm comes every second; pushes, stops and freed capacity ask for a round at once."""

    class_name = "Scheduler"
    ID = "scheduler"
    services: BuildServices

    @transaction
    def rearm(self, storage: ObjectStorage) -> None:
        """Set the next alarm, unless it is set."""
        if storage.get_alarm() is None:
            storage.set_alarm(now_ms() + ROUND_MS)

    async def alarm(self, retries: int) -> None:
        """The sweep behind the wake-ups. Armed again first, so that a failing round cannot end the rounds."""
        await self.rearm()
        self.services.wake_scheduler()
        if self.services.db.shared:
            # Where nodes come and go, none of them is sure to start again and see to this.
            patience = int(self.services.settings.builds.silence_timeout * 1000)
            await finish_what_was_ended(self.services, self.objects, before=now_ms() - patience)

    async def round(self) -> None:
        """Start everything that may start now. Not to be called twice at once on a node."""
        limit = self.services.settings.builds.concurrency
        seen = await self.services.db.read(_look, now_ms(), limit, self.services)
        if not seen.waiting:
            return
        claims, reasons = self._decide(seen, limit=limit)
        for claim in await self.services.db.write(self._claim, claims, reasons, seen.load):
            attempt = AttemptName(build_uuid=claim.build_uuid, number=claim.attempt)
            self.services.runner_tokens.remember(claim.token_hash, attempt)
            self.services.background.start(self.objects.get(BuildBuddy, claim.build_uuid).start_build(claim))

    def _decide(self, seen: Seen, *, limit: int) -> tuple[list[Claim], dict[int, str]]:
        services = self.services
        here = (services.compute.name, services.settings.node.location)
        talked_to = {address for trips in seen.talks_to.values() for address in trips}
        distances = services.distances(services.placement.targets | talked_to)
        places = BuildPlaces(here, seen.nodes, seen.load, distances)
        claims: list[Claim] = []
        reasons: dict[int, str] = {}
        for build in in_turn(seen.waiting, seen.load.by_account, limit=limit):
            place = self._place(build, places, seen)
            if isinstance(place, Refused):
                reasons[build.build_id] = place.reason
            else:
                claims.append(_claim(build, place))
        services.elsewhere.keep({build.build_id for build in seen.waiting})
        chosen = {claim.build_id for claim in claims} | reasons.keys()
        full = f"the account runs {limit} of {limit} builds"
        reasons |= {build.build_id: full for build in seen.waiting if build.build_id not in chosen}
        known = {build.build_id: build.wait_reason for build in seen.waiting}
        return claims, {build: reason for build, reason in reasons.items() if known[build] != reason}

    def _place(self, build: Waiting, places: BuildPlaces, seen: Seen) -> Candidate | Refused:
        """Where this node starts a build, or why it does not."""
        request, candidates = _request(build, seen), places.candidates()
        place = self.services.placement.place(request, candidates)
        if isinstance(place, Refused):
            return place
        if not places.is_here(place):
            if self.services.elsewhere.wait(build.build_id):
                places.count(place, build.account)
                return Refused(reason=f"a node in {place.location} is to start it: it is better there")
            own = [candidate for candidate in candidates if places.is_here(candidate)]
            place = self.services.placement.place(request, own)
            if isinstance(place, Refused):
                return place
        places.count(place, build.account)
        return place

    def _claim(
        self, session: Session, claims: list[Claim], reasons: dict[int, str], seen: Load
    ) -> list[Claim]:
        now = now_ms()
        if self.services.db.shared and queue.load(session) != seen:
            # Another node has started builds meanwhile: what was decided may be too many.
            after_commit(session, self.services.wake_scheduler)
            return []
        lifecycle.set_wait_reasons(session, reasons)
        taken = lifecycle.claim(session, claims, node=self.services.settings.node.name, now=now)
        patience = int(self.services.settings.builds.start_timeout * 1000)
        for claim in taken:
            self.objects.storage(session, BuildBuddy, claim.build_uuid).set_alarm(now + patience)
        return taken


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a round is decided from."""

    waiting: list[Waiting]
    load: Load
    #: the nodes that are there, where there may be several
    nodes: list[Present]
    #: worker's id → location → when it was last built there
    built: dict[str, dict[str, int]]
    #: build's id → what it will talk to → round trips; where there are several places to choose from
    talks_to: dict[int, dict[str, float]]


def _look(session: Session, now: int, limit: int, services: BuildServices) -> Seen:
    waiting = queue.next_in_line(session, now, per_account=limit)
    if not waiting:
        return Seen(waiting=[], load=Load(by_account={}, by_place={}), nodes=[], built={}, talks_to={})
    nodes = present(session) if services.db.shared else []
    several = len({(node.compute, node.location) for node in nodes}) > 1
    workers = {build.worker_id for build in waiting}
    built = queue.built(session, workers, since=now - BUILT_MS) if several else {}
    talks_to = services.talks_to.of(session, waiting) if several else {}
    return Seen(waiting=waiting, load=queue.load(session), nodes=nodes, built=built, talks_to=talks_to)


def _request(build: Waiting, seen: Seen) -> PlacementRequest:
    return PlacementRequest(
        build_uuid=build.build_uuid,
        account=build.account,
        worker=build.worker,
        production=build.is_production,
        built=seen.built.get(build.worker_id, {}),
        talks_to=seen.talks_to.get(build.build_id, {}),
        others_wait=len({other.account_id for other in seen.waiting} - {build.account_id}),
    )


def _claim(build: Waiting, place: Candidate) -> Claim:
    token = new_token("attempt")
    return Claim(
        build_id=build.build_id,
        build_uuid=build.build_uuid,
        attempt=build.attempt + 1,
        compute=place.compute,
        location=place.location,
        trusted=build.trusted,
        token=token,
        token_hash=hash_token(token),
        deploy_token_hash=hash_token(derive_token(token, "deploy")),
    )
