"""Runners as they call in: who they are, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam
from sqlmodel import col, select

from kedge.builds.buddy import BuildBuddy
from kedge.builds.job import make_job
from kedge.contracts.attempt_name import AttemptName
from kedge.db.queries import lifecycle
from kedge.db.tables import Attempt
from kedge.errors import StaleAttempt, Unauthorized
from kedge.tokens import hash_token

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.build_states import Status
    from kedge.builds.services import BuildServices
    from kedge.contracts.log_store import LogExtent
    from kedge.db.queries.lifecycle import Verdict
    from kedge.objects import Objects


ATTEMPT_OF_TOKEN = select(Attempt).where(col(Attempt.token_hash) == bindparam("hash"))


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One that showed a good token."""

    attempt: AttemptName


class Runners:
    """Receives runners. A token is good for its own build and attempt until the attempt ends."""

    def __init__(self, services: BuildServices, objects: Objects) -> None:
        """Keep the services."""
        self._services = services
        self._objects = objects

    async def identify(self, build_uuid: str, token: str) -> Runner:
        """Who comes with `token`. Raises `Unauthorized`, or `StaleAttempt` if its attempt has ended."""
        token_hash = hash_token(token)
        attempt = self._services.runner_tokens.find(token_hash)
        if attempt is None:
            attempt = await self._services.db.read(_find, token_hash)
            self._services.runner_tokens.remember(token_hash, attempt)
        if attempt.build_uuid != build_uuid:
            raise Unauthorized("the token is for another build")
        return Runner(attempt=attempt)

    async def job(self, runner: Runner, token: str) -> dict[str, Any]:
        """What it has to do. Who asks has come up: the build is initializing from now on."""
        attempt = runner.attempt
        await self._buddy(runner).handle_arrival(attempt.number)
        return await make_job(self._services, attempt.build_uuid, attempt.number, token)

    async def append(self, runner: Runner, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Take a chunk of log. Raises as `LogStore.append` does."""
        self._heard(runner)
        return await self._services.logs.append(runner.attempt.log, number, data, time_ms=time_ms)

    async def status(self, runner: Runner, status: Status) -> bool:
        """It is initializing or running. Returns whether it should cancel."""
        return await self._buddy(runner).handle_status(runner.attempt.number, status)

    async def stopped(self, runner: Runner, verdict: Verdict, *, chunks: int) -> None:
        """It is done. Raises `LogGap` unless `chunks` chunks are stored."""
        await self._buddy(runner).handle_stopped(runner.attempt.number, verdict, chunks=chunks)

    async def heartbeat(self, runner: Runner) -> bool:
        """It lives. Returns whether it should cancel. Raises `StaleAttempt` if its attempt has ended."""
        self._heard(runner)
        return await self._services.db.read(_cancel_requested, runner.attempt)

    def _heard(self, runner: Runner) -> None:
        self._services.liveness.heard(runner.attempt.build_uuid, runner.attempt.number)

    def _buddy(self, runner: Runner) -> BuildBuddy:
        return self._objects.get(BuildBuddy, runner.attempt.build_uuid)


def _find(session: Session, token_hash: str) -> AttemptName:
    attempt = session.execute(ATTEMPT_OF_TOKEN, {"hash": token_hash}).scalar_one_or_none()
    if attempt is None:
        raise Unauthorized("the token is not known")
    if attempt.ended_on is not None:
        raise StaleAttempt(f"attempt {attempt.number} of build {attempt.build_uuid} has ended")
    return AttemptName(build_uuid=attempt.build_uuid, number=attempt.number)


def _cancel_requested(session: Session, attempt: AttemptName) -> bool:
    build, _ = lifecycle.live(session, attempt.build_uuid, attempt.number)
    return build.cancel_requested
