"""Sees one build through: starts its attempts, hears its runner, ends it, and ends it well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from kedge.build_states import Outcome, Status, check_move
from kedge.builds.deadlines import Overdue, next_deadline
from kedge.contracts.attempt_name import AttemptName
from kedge.contracts.compute import ComputeRequest, ExitCause
from kedge.contracts.failures import ADVICE, RETRIED, Failure
from kedge.db.clock import now_ms
from kedge.db.queries import lifecycle, nodes
from kedge.db.queries.lifecycle import Verdict
from kedge.errors import CapacityUnavailable, Conflict, StaleAttempt, StartRefused
from kedge.logs.topics import LogState
from kedge.objects import DurableObject, ObjectStorage, transaction

if TYPE_CHECKING:
    from kedge.builds.services import BuildServices
    from kedge.contracts.compute import ComputeStatus
    from kedge.db.queries.lifecycle import Claim
    from kedge.db.tables import Attempt, Build

log = structlog.get_logger("buddy")

#: a runner's exit code once its report has been taken
REPORTED = 0
RETRY_BACKOFF_MS = 1_000
FULL_BACKOFF_MS = 1_000


class BuildBuddy(DurableObject):
    """One per build; its id is the build's. Each message names its attempt, so that late ones are refused."""

    class_name = "BuildBuddy"
    services: BuildServices

    # ---- start

    async def start_build(self, claim: Claim) -> None:
        """Hand the claimed attempt to compute. Every way this can end leaves the build in order."""
        registry = self.services.registry
        if registry.listens("kedge_before_build"):
            await registry.before_build(await self.services.db.read(lifecycle.build_event, self.id))
        try:
            compute_id = await self.services.compute.start(self._request(claim))
        except CapacityUnavailable as error:
            await self._put_back(claim.attempt, str(error))
        except StartRefused as error:
            await self._refuse(claim.attempt, str(error))
        except Exception as error:
            log.exception("compute could not start an attempt", build=self.id, attempt=claim.attempt)
            await self._report_error(error)
            await self.lose(claim.attempt, Failure.START, f"compute failed to start it: {error}")
        else:
            if not await self.record_start(claim.attempt, compute_id):
                await self.end_compute(claim.attempt, compute_id)

    def _request(self, claim: Claim) -> ComputeRequest:
        return ComputeRequest(
            build_uuid=claim.build_uuid,
            attempt=claim.attempt,
            endpoint=self.services.endpoint,
            token=claim.token,
            trusted=claim.trusted,
            location=claim.location,
            labels={"kedge.build": claim.build_uuid, "kedge.attempt": str(claim.attempt)},
        )

    @transaction
    def record_start(self, storage: ObjectStorage, attempt: int, compute_id: str) -> bool:
        """Note what compute calls the attempt. False if it is to be ended at once."""
        return lifecycle.record_compute_id(storage.session, self.id, attempt, compute_id)

    # ---- the runner speaks

    async def handle_arrival(self, attempt: int) -> None:
        """The runner has asked for its job. It may ask again: it never got the answer."""
        state = self.services.logs.state_at_hand(self.id)
        if state is None or state.part != attempt or state.status == Status.QUEUED:
            await self.handle_status(attempt, Status.INITIALIZING)

    async def handle_status(self, attempt: int, status: Status) -> bool:
        """The runner is initializing or running. Returns whether it should cancel."""
        cancel = await self._move(attempt, status)
        self.services.liveness.heard(self.id, attempt)
        self.services.logs.publish(self.id, LogState(part=attempt, status=status))
        if status is Status.RUNNING:
            self.services.reports.tell(self.id, status)
        if status is Status.INITIALIZING and self.services.registry.listens("kedge_build_started"):
            event = await self.services.db.read(lifecycle.build_event, self.id)
            await self.services.registry.build_started(event)
        return cancel

    @transaction
    def _move(self, storage: ObjectStorage, attempt: int, status: Status) -> bool:
        now = now_ms()
        cancel = lifecycle.report_in(storage.session, self.id, attempt, status, now)
        if cancel is None:
            build, _ = lifecycle.live(storage.session, self.id, attempt)
            if build.status != status:
                check_move(build.status, status)
            return build.cancel_requested
        if status is Status.INITIALIZING:
            silence = int(self.services.settings.builds.silence_timeout * 1000)
            storage.set_alarm(now + silence)
        return cancel

    async def handle_stopped(self, attempt: int, verdict: Verdict, *, chunks: int) -> None:
        """The runner has ended by itself; its log has `chunks` chunks.

        Raises `LogGap` if some have not arrived and `StaleAttempt` if the attempt has ended.
        """
        key = self._name(attempt).log
        await self.services.logs.require(key, chunks)
        if verdict.outcome == Outcome.CANCELLED and not await self._cancel_requested():
            # A machine that shuts down asks every process to end, and a runner takes that for a cancel.
            message = "something other than Kedge told its runner to end"
            verdict = Verdict(outcome=Outcome.TERMINATED, failure=Failure.LOST, message=message)
        if verdict.failure in RETRIED:
            await self.finish(attempt, verdict)
            return
        await self.services.logs.seal(key)
        outcome = await self._write_report(attempt, verdict)
        await self._stopped(attempt, outcome)

    async def _cancel_requested(self) -> bool:
        build, _ = await self.services.db.read(lifecycle.current, self.id)
        return build.cancel_requested

    @transaction
    def _write_report(self, storage: ObjectStorage, attempt: int, verdict: Verdict) -> str:
        # One transaction for both: a crash cannot leave an attempt ended whose verdict is forgotten.
        if not lifecycle.end_attempt(storage.session, self.id, attempt, now_ms()):
            raise StaleAttempt(f"attempt {attempt} of build {self.id} has ended")
        return self._stop_build(storage, attempt, verdict)

    async def handle_exit(self, status: ComputeStatus) -> None:
        """Compute says that an attempt's runner is gone. Most have said themselves how they ended."""
        compute = self.services.compute
        if status.cause is ExitCause.SELF and status.exit_code == REPORTED:
            pass
        elif status.cause is ExitCause.OUT_OF_MEMORY:
            verdict = Verdict(
                outcome=Outcome.TERMINATED,
                failure=Failure.OUT_OF_MEMORY,
                message=status.detail or "the memory limit was hit",
            )
            await self.finish(status.attempt, verdict)
        elif status.cause is ExitCause.REFUSED:
            await self._refuse(status.attempt, status.detail)
        elif status.cause is ExitCause.UNAVAILABLE:
            await self._put_back(status.attempt, status.detail)
        elif status.cause is not ExitCause.STOPPED:
            await self.lose(status.attempt, Failure.LOST, status.detail or "its runner ended without a word")
        await compute.forget(status.compute_id)

    # ---- ends

    async def _refuse(self, attempt: int, message: str) -> None:
        """Compute knows that another attempt would end the same."""
        await self._finish(attempt, Verdict(outcome=Outcome.FAIL, failure=Failure.START, message=message))

    async def finish(self, attempt: int, verdict: Verdict) -> None:
        """End the attempt and with it the build. Nothing happens if the attempt has ended already."""
        if verdict.failure is not None and verdict.failure in RETRIED and await self._may_retry():
            await self.lose(attempt, verdict.failure, verdict.message)
        else:
            await self._finish(attempt, verdict)

    async def _finish(self, attempt: int, verdict: Verdict) -> None:
        if await self._end(attempt, _last_line(verdict)):
            await self._stop(attempt, verdict)

    async def lose(self, attempt: int, failure: Failure, message: str) -> None:
        """The platform failed this attempt: try again, or give up after too many."""
        if not await self._end(attempt, f"Kedge: {message}."):
            return
        retried = await self.retry_later(attempt, message)
        if not retried:
            verdict = Verdict(outcome=Outcome.TERMINATED, failure=failure, message=message)
            await self._stop(attempt, verdict)

    async def resume_end(self, attempt: int) -> None:
        """Go on where a node died after it had ended the attempt and before it ended the build."""
        await self.services.logs.seal(self._name(attempt).log)
        message = "the node restarted while the attempt was being ended"
        if not await self.retry_later(attempt, message):
            verdict = Verdict(outcome=Outcome.TERMINATED, failure=Failure.LOST, message=message)
            await self._stop(attempt, verdict)

    async def cancel(self) -> None:
        """End the build at whatever stage it is. Raises `Conflict` if it has stopped."""
        latest, attempt = await self._request_cancel()
        if attempt is None:
            await self._stopped(latest, Outcome.CANCELLED)
        elif attempt.compute_id is None:
            return  # whoever starts it ends it
        elif self.services.reaches(attempt.node):
            await self.end_compute(attempt.number, attempt.compute_id)
        elif attempt.node in await self.services.db.read(nodes.names):
            self.services.tell_nodes("end", self.id)
        else:
            await self.finish(attempt.number, Verdict(outcome=Outcome.CANCELLED))

    @transaction
    def _request_cancel(self, storage: ObjectStorage) -> tuple[int, Attempt | None]:
        """The latest attempt's number, and the attempt if it is to be ended.

        There is none to be ended of a build that only waited, which has stopped now.
        """
        build, attempt = lifecycle.current(storage.session, self.id)
        if build.status == Status.STOPPED:
            raise Conflict("the build has stopped already")
        if build.claimed_on is None:
            lifecycle.stop(build, Verdict(outcome=Outcome.CANCELLED), now_ms())
            storage.delete_alarm()
            return build.attempt, None
        build.cancel_requested = True
        return build.attempt, attempt

    async def end_compute(self, attempt: int, compute_id: str) -> None:
        """Stop the runner; it says itself how it ended if it can, else this does."""
        await self.services.compute.stop(compute_id, grace=self.services.settings.builds.stop_grace)
        await self.finish(attempt, Verdict(outcome=Outcome.CANCELLED))
        await self.services.compute.forget(compute_id)

    async def _end(self, attempt: int, last_line: str | None) -> bool:
        """End the attempt's tokens, then its log. False if it had ended: then someone else goes on."""
        if not await self.services.db.write(lifecycle.end_attempt, self.id, attempt, now_ms()):
            return False
        name = self._name(attempt)
        self._forget(name)
        if last_line is not None:
            await self.services.logs.note(name.log, last_line)
        await self.services.logs.seal(name.log)
        return True

    async def _stop(self, attempt: int, verdict: Verdict) -> None:
        outcome = await self._write_stop(attempt, verdict)
        await self._stopped(attempt, outcome)

    @transaction
    def _write_stop(self, storage: ObjectStorage, attempt: int, verdict: Verdict) -> str:
        return self._stop_build(storage, attempt, verdict)

    def _stop_build(self, storage: ObjectStorage, attempt: int, verdict: Verdict) -> str:
        """Write the verdict; return the outcome that holds, which a request to cancel may have changed."""
        build, _ = lifecycle.current(storage.session, self.id)
        if build.attempt != attempt or build.status == Status.STOPPED:
            return build.outcome or verdict.outcome
        if build.cancel_requested and verdict.outcome != Outcome.SUCCESS:
            verdict = Verdict(outcome=Outcome.CANCELLED, exit_code=verdict.exit_code, phases=verdict.phases)
        lifecycle.stop(build, verdict, now_ms())
        storage.delete_alarm()
        return verdict.outcome

    async def _stopped(self, attempt: int, outcome: str) -> None:
        self._forget(self._name(attempt))
        state = LogState(part=attempt, status=Status.STOPPED, outcome=outcome)
        self.services.logs.publish(self.id, state)
        self.services.reports.tell(self.id, state.status, outcome)
        self.services.wake_scheduler()
        registry = self.services.registry
        if registry.listens("kedge_build_stopped"):
            await registry.build_stopped(await self.services.db.read(lifecycle.build_event, self.id))

    def _name(self, attempt: int) -> AttemptName:
        return AttemptName(build_uuid=self.id, number=attempt)

    def _forget(self, name: AttemptName) -> None:
        self.services.liveness.forget(name.build_uuid, name.number)
        self.services.runner_tokens.forget(name)

    # ---- another attempt

    async def _may_retry(self) -> bool:
        build, _ = await self.services.db.read(lifecycle.current, self.id)
        return build.infrastructure_retries < self.services.settings.builds.infrastructure_retries

    async def retry_later(self, attempt: int, reason: str) -> bool:
        """Queue another attempt after a failure of the platform. False if the build had its chances."""
        retried = await self._requeue_lost(attempt, reason)
        if retried:
            self._requeued(attempt)
        return retried

    @transaction
    def _requeue_lost(self, storage: ObjectStorage, attempt: int, reason: str) -> bool:
        build, _ = lifecycle.current(storage.session, self.id)
        chances = self.services.settings.builds.infrastructure_retries
        if build.attempt != attempt or build.cancel_requested or build.infrastructure_retries >= chances:
            return False
        backoff = RETRY_BACKOFF_MS * 2**build.infrastructure_retries
        build.infrastructure_retries += 1
        self._requeue(storage, build, backoff, f"attempt {attempt} failed: {reason}")
        return True

    async def _put_back(self, attempt: int, reason: str) -> None:
        """There was no room after all: the attempt never was."""
        if not await self._end(attempt, None):
            return
        if await self._requeue_full(reason):
            self._requeued(attempt)
        else:
            await self._stopped(attempt, Outcome.CANCELLED)

    @transaction
    def _requeue_full(self, storage: ObjectStorage, reason: str) -> bool:
        build, _ = lifecycle.current(storage.session, self.id)
        if build.cancel_requested:
            lifecycle.stop(build, Verdict(outcome=Outcome.CANCELLED), now_ms())
            storage.delete_alarm()
            return False
        self._requeue(storage, build, FULL_BACKOFF_MS, reason)
        return True

    def _requeue(self, storage: ObjectStorage, build: Build, backoff: int, reason: str | None) -> None:
        now = now_ms()
        lifecycle.requeue(build, not_before=now + backoff, reason=reason, now=now)
        storage.delete_alarm()

    def _requeued(self, attempt: int) -> None:
        self.services.logs.publish(self.id, LogState(part=attempt, status=Status.QUEUED))
        self.services.reports.tell(self.id, Status.QUEUED)
        self.services.wake_scheduler()

    # ---- alarms

    async def alarm(self, retries: int) -> None:
        """Catch a start that did not happen, a runner gone silent, a build over its time."""
        overdue = await self._check()
        if overdue is None:
            return
        reached = self.services.reaches(overdue.node)
        if overdue.compute_id is not None and reached:
            grace = self.services.settings.builds.stop_grace
            await self.services.compute.stop(overdue.compute_id, grace=grace)
        deadline = overdue.deadline
        if deadline.failure is Failure.TIMEOUT:
            verdict = Verdict(outcome=Outcome.TERMINATED, failure=deadline.failure, message=deadline.message)
            await self.finish(overdue.attempt, verdict)
        else:
            await self.lose(overdue.attempt, deadline.failure, deadline.message)
        if overdue.compute_id is not None and reached:
            await self.services.compute.forget(overdue.compute_id)

    @transaction
    def _check(self, storage: ObjectStorage) -> Overdue | None:
        """Decide what is due now, or set the alarm to when something may be."""
        _, attempt = lifecycle.current(storage.session, self.id)
        if attempt is None or attempt.ended_on is not None:
            return None
        now = now_ms()
        heard = self.services.liveness.last(self.id, attempt.number)
        deadline = next_deadline(attempt, self.services.settings.builds, heard=heard)
        if deadline.moment > now:
            storage.set_alarm(deadline.moment)
            return None
        return Overdue(
            attempt=attempt.number, compute_id=attempt.compute_id, node=attempt.node, deadline=deadline
        )

    async def _report_error(self, error: Exception) -> None:
        event = await self.services.db.read(lifecycle.build_event, self.id)
        await self.services.registry.build_error(event, error)


def _last_line(verdict: Verdict) -> str | None:
    """What Kedge itself adds to the log; a runner that could speak has said it already."""
    if verdict.outcome == Outcome.CANCELLED:
        return "Cancelled."
    if verdict.phases is not None or verdict.failure is None:
        return None
    return f"Failed: {verdict.message}. {ADVICE[verdict.failure]}"
