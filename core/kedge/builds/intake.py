"""Takes in what was pushed and queues the builds it calls for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge.build_states import Outcome, Status
from kedge.builds.matching import matches_branch, skip_reason
from kedge.contracts.events import PushReceived
from kedge.db.clock import now_ms
from kedge.db.queries import intake as queries
from kedge.db.queries import lifecycle
from kedge.db.queries.lifecycle import Verdict
from kedge.db.tables import Build
from kedge.errors import Conflict, InvalidInput
from kedge.logs.topics import LogState
from kedge.terminal import make_safe

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.builds.services import BuildServices
    from kedge.contracts.forge import Delivery, Push
    from kedge.db.queries.intake import Target

PUSH = "push"


@dataclass
class Queued:
    """What one delivery led to."""

    by_push: list[tuple[Push, list[str]]] = field(default_factory=list)
    #: those that wait for their turn now
    waiting: list[str] = field(default_factory=list)
    #: those that waited and shall not run, each with the number of its latest attempt
    superseded: list[tuple[str, int]] = field(default_factory=list)

    @property
    def build_uuids(self) -> list[str]:
        """Every build of the delivery, in the order of its pushes."""
        return [build_uuid for _, builds in self.by_push for build_uuid in builds]


class Intake:
    """The one door by which builds come into being."""

    def __init__(self, services: BuildServices) -> None:
        """Keep the services."""
        self._services = services

    async def receive(self, delivery: Delivery) -> list[str]:
        """Store a delivery and queue its builds in one transaction; return their uuids.

        A delivery that is known already queues nothing and returns the builds it led to then. Builds that a
        rule says not to run are there as `skipped`. A build of the same trigger and branch that still waits
        for its turn is superseded.
        """
        queued = await self._services.db.write(_store, delivery)
        await self.announce(queued)
        return queued.build_uuids

    async def build_now(
        self,
        account_id: str,
        trigger_uuid: str,
        *,
        branch: str | None = None,
        commit_hash: str | None = None,
        source: str = "manual",
    ) -> str:
        """Queue a build of a branch's newest commit, or of one commit, whatever the trigger's rules say.

        What they leave out is no build of production, whichever trigger builds it. Raises `NotFound` for an
        unknown trigger, branch or commit, `Conflict` for a disconnected repository.
        """
        revision = commit_hash or branch
        if revision is None:
            raise InvalidInput("say what to build: a branch or a commit_hash")
        target = await self._services.db.read(queries.target, account_id, trigger_uuid)
        repo = target.repo
        push = await self._services.forges[repo.forge].resolve(repo, revision)
        queued = await self._services.db.write(_store_one, push, account_id, trigger_uuid, source)
        await self.announce(queued)
        return queued.build_uuids[0]

    async def announce(self, queued: Queued) -> None:
        """Tell the scheduler, followers and event hooks what was queued; after its transaction."""
        for build_uuid, attempt in queued.superseded:
            state = LogState(part=attempt, status=Status.STOPPED, outcome=Outcome.SKIPPED)
            self._services.logs.publish(build_uuid, state)
            self._services.reports.tell(build_uuid, state.status, state.outcome)
        for build_uuid in queued.waiting:
            self._services.reports.tell(build_uuid, Status.QUEUED)
        self._services.wake_scheduler()
        registry = self._services.registry
        if registry.listens("kedge_push_received"):
            for push, builds in queued.by_push:
                await registry.push_received(PushReceived(push=push, build_uuids=tuple(builds)))
        if registry.listens("kedge_build_queued") and queued.build_uuids:
            for event in await self._services.db.read(lifecycle.build_events, queued.build_uuids):
                await registry.build_queued(event)


def _store(session: Session, delivery: Delivery) -> Queued:
    queued = Queued()
    known = queries.add_delivery(session, delivery, now_ms())
    for push in delivery.pushes:
        if known:
            builds = queries.builds_of_delivery(session, delivery, push)
        else:
            targets = [
                target
                for target in queries.targets(session, push.repo)
                if matches_branch(target.trigger, push.branch)
            ]
            builds = [
                _queue(
                    session,
                    queued,
                    _new_build(push, target, PUSH, delivery.delivery_id),
                    skip_reason(target.trigger, push),
                )
                for target in targets
            ]
        queued.by_push.append((push, builds))
    return queued


def _store_one(session: Session, push: Push, account_id: str, trigger_uuid: str, source: str) -> Queued:
    # Looked up again: while the forge was asked the trigger may have been removed or changed.
    target = queries.target(session, account_id, trigger_uuid)
    if target.repo != push.repo:
        raise Conflict("the trigger was given another repository just now: ask for the build again")
    queued, _ = store_build(session, push, target, source)
    return queued


def store_build(
    session: Session, push: Push, target: Target, source: str, *, deploy_hook: str | None = None
) -> tuple[Queued, Build]:
    """Queue one build that no delivery called for, in a transaction of the caller's; `announce` it then."""
    queued = Queued()
    build = _new_build(push, target, source, f"{source}-{uuid4()}")
    build.deploy_hook = deploy_hook
    queued.by_push.append((push, [_queue(session, queued, build, None)]))
    return queued, build


def _queue(session: Session, queued: Queued, build: Build, skipped: str | None) -> str:
    if skipped is not None:
        lifecycle.stop(build, Verdict(outcome=Outcome.SKIPPED, message=skipped), build.created_on)
    elif build.source == PUSH:
        for older in queries.waiting_builds(session, build):
            message = f"Superseded by {build.commit_hash[:12]}."
            lifecycle.stop(older, Verdict(outcome=Outcome.SKIPPED, message=message), build.created_on)
            queued.superseded.append((older.build_uuid, older.attempt))
    if skipped is None:
        queued.waiting.append(build.build_uuid)
    session.add(build)
    session.flush()
    return build.build_uuid


def _new_build(push: Push, target: Target, source: str, delivery_id: str) -> Build:
    now = now_ms()
    # who asks for a build by hand may name any branch
    of_production = target.is_production and matches_branch(target.trigger, push.branch)
    return Build(
        build_uuid=str(uuid4()),
        account_id=target.trigger.account_id,
        worker_id=target.trigger.worker_id,
        trigger_uuid=target.trigger.uuid,
        forge=push.repo.forge,
        delivery_id=delivery_id,
        source=source,
        branch=push.branch,
        commit_hash=push.commit_hash,
        commit_message=make_safe(push.commit_message),
        author=make_safe(push.author),
        is_production=of_production and push.trusted,
        trusted=push.trusted,
        snapshot=target.snapshot(),
        not_before=0,
        created_on=now,
        modified_on=now,
    )
