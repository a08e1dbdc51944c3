"""Decides which queued builds start now, and starts them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from kedge.builds.adoption import finish_what_was_ended
from kedge.builds.buddy import BuildBuddy
from kedge.builds.fair_share import in_turn
from kedge.contracts.log_store import LogKey
from kedge.contracts.placement import Candidate, PlacementRequest
from kedge.db.clock import now_ms
from kedge.db.engine import after_commit
from kedge.db.queries import lifecycle, queue
from kedge.db.queries.lifecycle import Claim
from kedge.db.queries.queue import Load
from kedge.objects import DurableObject, ObjectStorage, transaction
from kedge.placement.chain import Refused
from kedge.tokens import derive_token, hash_token, new_token

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.builds.services import BuildServices
    from kedge.db.queries.queue import Waiting

log = structlog.get_logger("scheduler")

ROUND_MS = 1000


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
        waiting, load = await self.services.db.read(_look, now_ms(), limit)
        if not waiting:
            return
        claims, reasons = self._decide(waiting, load, limit=limit)
        for claim in await self.services.db.write(self._claim, claims, reasons, load):
            key = LogKey(build_uuid=claim.build_uuid, attempt=claim.attempt)
            self.services.runner_tokens.remember(claim.token_hash, key)
            self.services.background.start(self.objects.get(BuildBuddy, claim.build_uuid).start_build(claim))

    def _decide(
        self, waiting: list[Waiting], load: Load, *, limit: int
    ) -> tuple[list[Claim], dict[int, str]]:
        by_place = Counter(load.by_place)
        claims: list[Claim] = []
        reasons: dict[int, str] = {}
        for build in in_turn(waiting, load.by_account, limit=limit):
            place = self.services.placement.place(_request(build), self._candidates(by_place))
            if isinstance(place, Refused):
                reasons[build.build_id] = place.reason
                continue
            by_place[place.compute, place.location] += 1
            claims.append(_claim(build, place))
        chosen = {claim.build_id for claim in claims} | reasons.keys()
        full = f"the account runs {limit} of {limit} builds"
        reasons |= {build.build_id: full for build in waiting if build.build_id not in chosen}
        known = {build.build_id: build.wait_reason for build in waiting}
        return claims, {build: reason for build, reason in reasons.items() if known[build] != reason}

    def _candidates(self, by_place: Counter[tuple[str, str]]) -> list[Candidate]:
        compute, location = self.services.compute.name, self.services.settings.node.location
        return [Candidate(location=location, compute=compute, running=by_place[compute, location])]

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


def _look(session: Session, now: int, limit: int) -> tuple[list[Waiting], Load]:
    waiting = queue.next_in_line(session, now, per_account=limit)
    return waiting, queue.load(session) if waiting else Load(by_account={}, by_place={})


def _request(build: Waiting) -> PlacementRequest:
    return PlacementRequest(
        build_uuid=build.build_uuid,
        account=build.account,
        worker=build.worker,
        production=build.is_production,
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
