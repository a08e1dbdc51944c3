"""Builds that somebody asks for by a deploy hook's address."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.builds.intake import Queued, store_build
from kedge.builds.matching import matches_branch
from kedge.db.clock import now_ms
from kedge.db.queries import deploy_hooks as queries
from kedge.db.queries import intake
from kedge.errors import Conflict, NotFound, RateLimited
from kedge.tokens import hash_token

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.builds.intake import Intake
    from kedge.builds.services import BuildServices
    from kedge.contracts.forge import Push
    from kedge.db.queries.intake import Target
    from kedge.db.tables import Build, DeployHook

SOURCE = "deploy_hook"
#: builds in a minute, by all hooks of a worker and of an account
MOST_OF_WORKER, MOST_OF_ACCOUNT = 10, 100
MINUTE_MS = 60_000
#: calls of one hook in a minute at one node, whatever they lead to: each of them asks the forge
MOST_CALLS = 60


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a call of a hook led to."""

    build_uuid: str
    status: str
    created_on: int
    #: the build was waiting already
    already_exists: bool


class DeployHooks:
    """Answers whoever knows a hook's UUID."""

    def __init__(self, services: BuildServices, intake: Intake) -> None:
        """Keep them."""
        self._services = services
        self._intake = intake
        self._minute = 0
        self._calls: Counter[str] = Counter()

    async def call(self, uuid: str) -> Asked:
        """Queue a build of the newest commit of the hook's branch, unless one waits already.

        Raises `NotFound` for an unknown UUID, a worker that builds no such branch or a branch that is gone,
        `Conflict` for a disconnected repository, `RateLimited` for too many builds, or calls, in a minute.
        """
        uuid_hash = hash_token(uuid)
        target, branch = await self._services.db.read(_look, uuid_hash)
        self._count(uuid_hash)
        push = await self._services.forges[target.repo.forge].resolve(target.repo, branch)
        asked, queued = await self._services.db.write(_ask, uuid_hash, push)
        if queued is not None:
            await self._intake.announce(queued)
        return asked

    def _count(self, uuid_hash: str) -> None:
        """Of hooks that are there: what is kept of a minute is bounded by them."""
        minute = now_ms() // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._calls.clear()
        self._calls[uuid_hash] += 1
        if self._calls[uuid_hash] > MOST_CALLS:
            raise RateLimited(f"a deploy hook may be called {MOST_CALLS} times in a minute: try again later")


def _look(session: Session, uuid_hash: str) -> tuple[Target, str]:
    hook = queries.find_hook(session, uuid_hash)
    target = _target(session, hook)
    # The forge is not asked for a build that will be refused.
    if not queries.pending_builds(session, target.trigger.uuid, hook.branch):
        _check_rate(session, hook)
    return target, hook.branch


def _ask(session: Session, uuid_hash: str, push: Push) -> tuple[Asked, Queued | None]:
    # Looked up again: while the forge was asked everything may have changed.
    hook = queries.find_hook(session, uuid_hash)
    target = _target(session, hook)
    if (target.repo, hook.branch) != (push.repo, push.branch):
        raise Conflict("the hook or its worker was changed just now: call it again")
    for pending in queries.pending_builds(session, target.trigger.uuid, hook.branch):
        if pending.commit_hash == push.commit_hash:
            return _asked(pending, already_exists=True), None
    _check_rate(session, hook)
    queued, build = store_build(session, push, target, SOURCE, deploy_hook=hook.name)
    hook.latest_build_on = build.created_on
    return _asked(build, already_exists=False), queued


def _target(session: Session, hook: DeployHook) -> Target:
    """The trigger that builds the hook's branch, one for production before any other."""
    found = [
        target
        for target in intake.targets_of_worker(session, hook.worker_id)
        if matches_branch(target.trigger, hook.branch)
    ]
    if not found:
        raise NotFound(
            f"no trigger of the worker builds the branch {hook.branch!r}: change the rules of one, or the "
            "branch of the hook"
        )
    best = min(found, key=lambda target: not target.is_production)
    intake.check_connected(best.connection)
    return best


def _check_rate(session: Session, hook: DeployHook) -> None:
    recent = queries.recent_builds(session, hook, now_ms() - MINUTE_MS)
    if recent.of_worker >= MOST_OF_WORKER:
        raise RateLimited(
            f"deploy hooks start {MOST_OF_WORKER} builds of a worker in a minute: try again later"
        )
    if recent.of_account >= MOST_OF_ACCOUNT:
        raise RateLimited(
            f"deploy hooks start {MOST_OF_ACCOUNT} builds of an account in a minute: try again later"
        )


def _asked(build: Build, *, already_exists: bool) -> Asked:
    return Asked(
        build_uuid=build.build_uuid,
        status=build.status,
        created_on=build.created_on,
        already_exists=already_exists,
    )
