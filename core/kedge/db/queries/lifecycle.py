"""The steps of a build's life, each one statement or few inside a transaction of the caller's.

Statements that every build runs are made once: SQLAlchemy takes ten times as long to make one as to run it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlmodel import col

from kedge.build_states import Status
from kedge.contracts.events import BuildEvent
from kedge.db.clock import to_datetime
from kedge.db.tables import Account, Attempt, Build, Worker
from kedge.errors import NotFound, StaleAttempt
from kedge.terminal import make_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from kedge.contracts.failures import Failure


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A build whose turn has come, with the attempt that is made for it."""

    build_id: int
    build_uuid: str
    attempt: int
    compute: str
    location: str
    trusted: bool
    token: str = field(repr=False)
    token_hash: str
    deploy_token_hash: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a build or an attempt ended."""

    outcome: str
    failure: Failure | None = None
    message: str = ""
    exit_code: int | None = None
    phases: list[dict[str, Any]] | None = None


#: nothing that they change is in the session's memory
UNSYNCED = {"synchronize_session": False}

CLAIM = (
    update(Build)
    .where(col(Build.id) == bindparam("this_build"), col(Build.claimed_on).is_(None))
    .where(col(Build.status) == Status.QUEUED, col(Build.attempt) == bindparam("previous"))
    .values(claimed_on=bindparam("now"), attempt=bindparam("next"), wait_reason=None)
    .values(modified_on=bindparam("now"))
    .returning(col(Build.account_id))
    .execution_options(**UNSYNCED)
)
SET_WAIT_REASON = (
    update(Build)
    .where(col(Build.id) == bindparam("this_build"), col(Build.claimed_on).is_(None))
    .values(wait_reason=bindparam("reason"))
    .execution_options(**UNSYNCED)
)
CURRENT = (
    select(Build, Attempt)
    .outerjoin(Attempt, (col(Attempt.build_id) == Build.id) & (col(Attempt.number) == Build.attempt))
    .where(col(Build.build_uuid) == bindparam("this_build"))
)
REPORT_INITIALIZING, REPORT_RUNNING = (
    update(Build)
    .where(col(Build.build_uuid) == bindparam("this_build"), col(Build.attempt) == bindparam("this_attempt"))
    .where(col(Build.status) == before, col(Build.claimed_on).is_not(None))
    .values({"status": after, f"{after}_on": bindparam("now"), "modified_on": bindparam("now")})
    .returning(col(Build.cancel_requested))
    .execution_options(**UNSYNCED)
    for before, after in ((Status.QUEUED, Status.INITIALIZING), (Status.INITIALIZING, Status.RUNNING))
)
_THIS_ATTEMPT = (
    update(Attempt)
    .where(
        col(Attempt.build_uuid) == bindparam("this_build"), col(Attempt.number) == bindparam("this_attempt")
    )
    .execution_options(**UNSYNCED)
)
_LIVE_ATTEMPT = _THIS_ATTEMPT.where(col(Attempt.ended_on).is_(None)).returning(col(Attempt.number))
REPORT_ATTEMPT = _THIS_ATTEMPT.values(reported_on=bindparam("now"))
RECORD_COMPUTE_ID = _LIVE_ATTEMPT.values(compute_id=bindparam("given"))
END_ATTEMPT = _LIVE_ATTEMPT.values(ended_on=bindparam("now"))
CANCEL_REQUESTED = select(col(Build.cancel_requested)).where(col(Build.build_uuid) == bindparam("this_build"))


def claim(session: Session, claims: Sequence[Claim], *, node: str, now: int) -> list[Claim]:
    """Make the attempts; those that someone else claimed or cancelled meanwhile are left out."""
    taken, attempts = [], []
    for wanted in claims:
        values = {
            "this_build": wanted.build_id,
            "previous": wanted.attempt - 1,
            "next": wanted.attempt,
            "now": now,
        }
        result = session.execute(CLAIM, values).scalar_one_or_none()
        if result is None:
            continue
        taken.append(wanted)
        attempts.append(
            {
                "build_id": wanted.build_id,
                "number": wanted.attempt,
                "account_id": result,
                "build_uuid": wanted.build_uuid,
                "token_hash": wanted.token_hash,
                "deploy_token_hash": wanted.deploy_token_hash,
                "node": node,
                "compute": wanted.compute,
                "location": wanted.location,
                "started_on": now,
            }
        )
    if attempts:
        session.execute(insert(Attempt), attempts)
    return taken


def set_wait_reasons(session: Session, reasons: dict[int, str]) -> None:
    """Note why builds, by id, could not start in the last round."""
    for build_id, reason in reasons.items():
        session.execute(SET_WAIT_REASON, {"this_build": build_id, "reason": reason})


def current(session: Session, build_uuid: str) -> tuple[Build, Attempt | None]:
    """A build and its latest attempt. Raises `NotFound`."""
    row = session.execute(CURRENT, {"this_build": build_uuid}).one_or_none()
    if row is None:
        raise NotFound(f"there is no build {build_uuid}")
    return row[0], row[1]


def live(session: Session, build_uuid: str, number: int) -> tuple[Build, Attempt]:
    """A build and its attempt `number`, which must be the latest and not ended. Raises `StaleAttempt`."""
    build, attempt = current(session, build_uuid)
    if attempt is None or attempt.number != number or attempt.ended_on is not None:
        raise StaleAttempt(f"attempt {number} of build {build_uuid} has ended")
    return build, attempt


def report_in(session: Session, build_uuid: str, number: int, status: str, now: int) -> bool | None:
    """Let a runner's progress count: the build becomes `status` if it stood right before it.

    Returns whether it should cancel, or `None` if the build does not stand so that this could follow.
    """
    values = {"this_build": build_uuid, "this_attempt": number, "now": now}
    statement = REPORT_INITIALIZING if status == Status.INITIALIZING else REPORT_RUNNING
    cancel = session.execute(statement, values).scalar_one_or_none()
    if cancel is not None and status == Status.INITIALIZING:
        session.execute(REPORT_ATTEMPT, values)
    return cancel


def record_compute_id(session: Session, build_uuid: str, number: int, compute_id: str) -> bool:
    """Note what the backend calls the attempt. False if it has ended or shall be cancelled."""
    values = {"this_build": build_uuid, "this_attempt": number, "given": compute_id}
    noted = session.execute(RECORD_COMPUTE_ID, values).scalar_one_or_none()
    cancel = session.execute(CANCEL_REQUESTED, {"this_build": build_uuid}).scalar_one_or_none()
    return noted is not None and not cancel


def end_attempt(session: Session, build_uuid: str, number: int, now: int) -> bool:
    """End an attempt and with it its tokens. False if it had ended: then someone else sees to the rest."""
    values = {"this_build": build_uuid, "this_attempt": number, "now": now}
    return session.execute(END_ATTEMPT, values).scalar_one_or_none() is not None


def stop(build: Build, verdict: Verdict, now: int) -> None:
    """Write how the build ended."""
    build.status = Status.STOPPED
    build.outcome = verdict.outcome
    build.failure = verdict.failure
    build.failure_message = make_safe(verdict.message) or None
    build.exit_code = verdict.exit_code
    build.phases = verdict.phases
    build.wait_reason = None
    build.stopped_on = build.modified_on = now


def requeue(build: Build, *, not_before: int, reason: str | None, now: int) -> None:
    """Let the build wait for another attempt."""
    build.status = Status.QUEUED
    build.outcome = build.failure = build.failure_message = build.exit_code = build.phases = None
    build.claimed_on = build.initializing_on = build.running_on = build.stopped_on = None
    build.cancel_requested = False
    build.not_before = not_before
    build.wait_reason = reason
    build.modified_on = now


def unfinished_attempts(session: Session, node: str | None = None) -> list[Attempt]:
    """Attempts that have not ended, of one node or of all."""
    query = select(Attempt).where(col(Attempt.ended_on).is_(None))
    if node is not None:
        query = query.where(col(Attempt.node) == node)
    return list(session.execute(query).scalars())


def unfinished_claims(session: Session, before: int) -> list[tuple[str, int]]:
    """Builds whose attempt has ended `before` but which neither stopped nor went back to the queue."""
    rows = session.execute(
        select(col(Build.build_uuid), col(Build.attempt))
        .join(Attempt, (col(Attempt.build_id) == Build.id) & (col(Attempt.number) == Build.attempt))
        .where(col(Build.status) != Status.STOPPED, col(Build.claimed_on).is_not(None))
        .where(col(Attempt.ended_on) < before)
    )
    return [(row.build_uuid, row.attempt) for row in rows]


def build_event(session: Session, build_uuid: str) -> BuildEvent:
    """A build as event hooks are told of it."""
    row = session.execute(_event_query().where(col(Build.build_uuid) == build_uuid)).one()
    return to_event(row)


def build_events(session: Session, build_uuids: Sequence[str]) -> list[BuildEvent]:
    """Several builds as event hooks are told of them."""
    rows = session.execute(_event_query().where(col(Build.build_uuid).in_(build_uuids)))
    return [to_event(row) for row in rows]


def _event_query() -> Any:
    return (
        select(Build, col(Account.name), col(Worker.name))
        .join(Account, col(Account.id) == Build.account_id)
        .join(Worker, col(Worker.id) == Build.worker_id)
    )


def to_event(row: Row[Build, str, str]) -> BuildEvent:
    """The event value of a build with the names of its account and worker."""
    build, account, worker = row
    return BuildEvent(
        build_uuid=build.build_uuid,
        attempt=build.attempt,
        account=account,
        worker=worker,
        branch=build.branch,
        commit_hash=build.commit_hash,
        status=build.status,
        outcome=build.outcome,
        created_on=to_datetime(build.created_on),
        stopped_on=None if build.stopped_on is None else to_datetime(build.stopped_on),
        failure=build.failure,
    )
