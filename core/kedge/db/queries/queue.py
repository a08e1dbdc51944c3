"""Who waits, and who runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, literal, select, tuple_
from sqlmodel import col

from kedge.build_states import Outcome, Status
from kedge.db.tables import Account, Attempt, Build, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlmodel import Session

NEAREST = 20


_WAITING: Any = (
    select(
        col(Build.id).label("build_id"),
        col(Build.build_uuid),
        col(Build.account_id),
        col(Account.name).label("account"),
        col(Worker.id).label("worker_id"),
        col(Worker.name).label("worker"),
        col(Build.is_production),
        col(Build.attempt),
        col(Build.wait_reason),
        col(Build.branch),
        col(Build.created_on),
        col(Build.trusted),
        col(Build.trigger_uuid).label("trigger"),
        col(Build.forge),
    )
    .join(Account, col(Account.id) == Build.account_id)
    .join(Worker, col(Worker.id) == Build.worker_id)
)
_QUEUED = (col(Build.status) == Status.QUEUED, col(Build.claimed_on).is_(None))
_PLACE = func.row_number().over(
    partition_by=col(Build.account_id), order_by=(col(Build.is_production).desc(), col(Build.id))
)
_RANKED = (
    select(col(Build.id).label("build_id"), _PLACE.label("place"))
    .where(*_QUEUED, col(Build.not_before) <= bindparam("now"))
    .subquery()
)
NEXT_IN_LINE = _WAITING.join(_RANKED, _RANKED.c.build_id == Build.id).where(
    _RANKED.c.place <= bindparam("per_account")
)
WAITING_OF = _WAITING.where(col(Build.account_id) == bindparam("account"), *_QUEUED).order_by(
    col(Build.is_production).desc(), col(Build.id)
)
RUNNING: Any = (
    select(
        col(Attempt.account_id),
        col(Account.name).label("account"),
        col(Attempt.compute),
        col(Attempt.location),
    )
    .join(Account, col(Account.id) == Attempt.account_id)
    .where(col(Attempt.ended_on).is_(None))
)
BUILT = (
    select(col(Build.worker_id), col(Attempt.location), func.max(Attempt.ended_on).label("ended_on"))
    .join(Build, col(Build.id) == Attempt.build_id)
    .where(col(Build.outcome) == Outcome.SUCCESS, col(Build.attempt) == Attempt.number)
    .where(col(Build.worker_id).in_(bindparam("workers", expanding=True)))
    .where(col(Attempt.ended_on) > bindparam("since"))
    .group_by(col(Build.worker_id), col(Attempt.location))
)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A queued build, as the scheduler sees it. Ids grow in the order of arrival."""

    build_id: int
    build_uuid: str
    account_id: str
    account: str
    worker: str
    is_production: bool
    attempt: int
    wait_reason: str | None
    branch: str = ""
    created_on: int = 0
    trusted: bool = False
    worker_id: str = ""
    trigger: str = ""
    forge: str = ""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What runs now: attempts by account's id, and by place (compute, location) and account's name."""

    by_account: dict[str, int]
    by_place: dict[tuple[str, str], dict[str, int]]


def next_in_line(session: Session, now: int, *, per_account: int) -> list[Waiting]:
    """The first `per_account` builds of each account that may start now: production first, then oldest."""
    rows = session.execute(NEXT_IN_LINE, {"now": now, "per_account": per_account})
    return [Waiting(**row) for row in rows.mappings()]


def waiting(session: Session, account_id: str) -> list[Waiting]:
    """Every build of an account that waits for its turn, in the order in which they will get it."""
    rows = session.execute(WAITING_OF, {"account": account_id})
    return [Waiting(**row) for row in rows.mappings()]


@dataclass(frozen=True, kw_only=True)
class Before:
    """The builds of an account that start before one that waits: how many, and the nearest of them."""

    count: int
    nearest: list[str]


def before(session: Session, build: Build) -> Before:
    """What comes before `build`, which waits."""
    earlier = [
        col(Build.account_id) == build.account_id,
        *_QUEUED,
        tuple_(~col(Build.is_production), col(Build.id)) < tuple_(literal(not build.is_production), build.id),
    ]
    count = session.execute(select(func.count()).select_from(Build).where(*earlier)).scalar_one()
    order = (col(Build.is_production), col(Build.id).desc())
    nearest = select(col(Build.build_uuid)).where(*earlier).order_by(*order).limit(NEAREST)
    return Before(count=count, nearest=list(session.execute(nearest).scalars())[::-1] if count else [])


def load(session: Session) -> Load:
    """Count the attempts that run or are being started."""
    rows = session.execute(RUNNING).all()
    by_place: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        accounts = by_place.setdefault((row.compute, row.location), {})
        accounts[row.account] = accounts.get(row.account, 0) + 1
    return Load(by_account=Counter(row.account_id for row in rows), by_place=by_place)


def built(session: Session, worker_ids: Iterable[str], *, since: int) -> dict[str, dict[str, int]]:
    """Worker's id → location → when its latest build that went well ended there."""
    found: dict[str, dict[str, int]] = {}
    rows = session.execute(BUILT, {"workers": sorted(worker_ids), "since": since})
    for worker_id, location, ended_on in rows:
        found.setdefault(worker_id, {})[location] = ended_on
    return found
