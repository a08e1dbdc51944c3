"""Builds as the API shows them: each with all that belongs to it, in few queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func
from sqlmodel import col, select

from kedge.build_states import Status
from kedge.db.queries import queue
from kedge.db.queries.deployments import whereabouts
from kedge.db.queries.versions import find_worker
from kedge.db.tables import Attempt, Build, RepoConnection, Trigger, Version, Worker
from kedge.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from kedge.db.queries.deployments import Whereabouts
    from kedge.db.queries.queue import Before


@dataclass(frozen=True, kw_only=True)
class BuildView:
    """A build with its trigger, connection and worker."""

    build: Build
    trigger: Trigger
    connection: RepoConnection
    worker: str
    attempts: list[Attempt] = field(default_factory=list)
    version: Version | None = None
    #: of the version
    whereabouts: Whereabouts | None = None
    #: what comes before it while it waits, or `None` if it does not wait
    before: Before | None = None


@dataclass(frozen=True, kw_only=True)
class BuildFilter:
    """Which builds of an account; `None` stands for any."""

    worker: str | None = None
    branch: str | None = None
    status: str | None = None
    outcome: str | None = None


_VIEWS: Any = (
    select(Build, Trigger, RepoConnection, Worker.name)
    .join(Trigger, col(Trigger.uuid) == Build.trigger_uuid)
    .join(RepoConnection, col(RepoConnection.uuid) == Trigger.repo_connection_uuid)
    .join(Worker, col(Worker.id) == Build.worker_id)
)
VIEW = _VIEWS.where(
    col(Build.account_id) == bindparam("account"), col(Build.build_uuid) == bindparam("build")
)
ATTEMPTS = select(Attempt).where(col(Attempt.build_id) == bindparam("id")).order_by(col(Attempt.number))
NEWEST_VERSION = (
    select(Version)
    .where(col(Version.build_uuid) == bindparam("build"))
    .order_by(col(Version.number).desc())
    .limit(1)
)


def get_build(session: Session, account_id: str, build_uuid: str) -> BuildView:
    """One build with its attempts, version and place in the queue. Raises `NotFound`."""
    row = session.execute(VIEW, {"account": account_id, "build": build_uuid}).one_or_none()
    if row is None:
        raise NotFound(f"there is no build {build_uuid[:80]!r}")
    build: Build = row[0]
    before = None
    if build.status == Status.QUEUED and build.claimed_on is None:
        before = queue.before(session, build)
    version = session.execute(NEWEST_VERSION, {"build": build_uuid}).scalar_one_or_none()
    return _view(
        row,
        attempts=list(session.execute(ATTEMPTS, {"id": build.id}).scalars()),
        version=version,
        whereabouts=whereabouts(session, version) if version is not None else None,
        before=before,
    )


def list_builds(
    session: Session, account_id: str, wanted: BuildFilter, *, limit: int, offset: int
) -> tuple[list[BuildView], int]:
    """Builds of the account, newest first, and how many there are in all. Raises `NotFound`."""
    conditions: list[Any] = [col(Build.account_id) == account_id]
    if wanted.worker is not None:
        conditions.append(col(Build.worker_id) == find_worker(session, account_id, wanted.worker).id)
    if wanted.branch is not None:
        conditions.append(col(Build.branch) == wanted.branch)
    if wanted.status is not None:
        conditions.append(col(Build.status) == wanted.status)
    if wanted.outcome is not None:
        conditions.append(col(Build.outcome) == wanted.outcome)
    total = session.exec(select(func.count()).select_from(Build).where(*conditions)).one()
    query = _VIEWS.where(*conditions).order_by(col(Build.id).desc()).limit(limit).offset(offset)
    return [_view(row) for row in session.exec(query)], total


def builds_of_versions(session: Session, account_id: str, version_ids: Sequence[str]) -> dict[str, BuildView]:
    """The builds that made versions, by version."""
    rows = session.exec(
        _VIEWS.add_columns(col(Version.id))
        .join(Version, col(Version.build_uuid) == Build.build_uuid)
        .where(Build.account_id == account_id, col(Version.id).in_(version_ids))
    )
    return {row[4]: _view(row) for row in rows}


def latest_builds(session: Session, account_id: str, tags: Sequence[str]) -> dict[str, BuildView]:
    """The newest build of each worker, by tag."""
    # One look at the index for each worker; grouping would read every build of theirs.
    newest = select(
        select(func.max(Build.id)).where(Build.worker_id == Worker.id).correlate(Worker).scalar_subquery()
    ).where(Worker.account_id == account_id, col(Worker.id).in_(tags))
    rows = session.exec(_VIEWS.where(col(Build.id).in_(newest)))
    return {row[0].worker_id: _view(row) for row in rows}


def _view(row: Any, **more: Any) -> BuildView:
    return BuildView(build=row[0], trigger=row[1], connection=row[2], worker=row[3], **more)
