"""Build caches: finding, storing and forgetting them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, or_, update
from sqlmodel import col, select

from kedge.db.queries import lifecycle
from kedge.db.queries.versions import find_worker
from kedge.db.tables import CacheArchive, CacheEntry, Trigger, Worker
from kedge.db.upsert import upsert
from kedge.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlmodel import Session

    from kedge.contracts.attempt_name import AttemptName

UPLOADING, STORED, DOOMED = "uploading", "stored", "doomed"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a build looks for: `key` whole, or else the newest that begins with one of `restore_keys`."""

    name: str
    version: str
    key: str
    restore_keys: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where a build may read, in this order, and whether it may write to the first of them."""

    account_id: str
    worker_id: str
    branches: Sequence[str]
    writable: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """An entry with its archive."""

    entry: CacheEntry
    archive: CacheArchive


def scope(session: Session, attempt: AttemptName) -> Scope:
    """The scope of a running attempt: its own branch, then the production branches.

    Raises `StaleAttempt`, or `Forbidden` if its trigger does not cache.
    """
    build, _ = lifecycle.live(session, attempt.build_uuid, attempt.number)
    trigger = session.get(Trigger, build.trigger_uuid)
    if trigger is None or not trigger.build_caching_enabled:
        raise Forbidden("caching is off for this build's trigger")
    return Scope(
        account_id=build.account_id,
        worker_id=build.worker_id,
        branches=list(dict.fromkeys([build.branch, *production_branches(session, build.worker_id)])),
        writable=build.trusted,
    )


def production_branches(session: Session, worker_id: str) -> list[str]:
    """The branches that a worker's production triggers name, oldest trigger first."""
    query = (
        select(Trigger)
        .where(Trigger.worker_id == worker_id, col(Trigger.deleted_on).is_(None))
        .order_by(col(Trigger.created_on), col(Trigger.uuid))
    )
    rules = (trigger.branch_includes for trigger in session.exec(query))
    return [branch for includes in rules if not any("*" in one for one in includes) for branch in includes]


def find(session: Session, scope: Scope, wanted: Wanted) -> Found | None:
    """The best that there is: the whole key on any branch, else a beginning of one, branch by branch."""
    for branch in scope.branches:
        query = _entries(scope.worker_id, branch, wanted).where(col(CacheEntry.key) == wanted.key)
        if (row := session.execute(query).first()) is not None:
            return Found(entry=row[0], archive=row[1])
    for branch in scope.branches:
        for beginning in wanted.restore_keys:
            # LIKE would not tell capitals apart in SQLite
            starts = func.substr(col(CacheEntry.key), 1, len(beginning)) == beginning
            query = _entries(scope.worker_id, branch, wanted).where(starts).limit(1)
            if (row := session.execute(query).first()) is not None:
                return Found(entry=row[0], archive=row[1])
    return None


def read(session: Session, attempt: AttemptName, wanted: Wanted, now: int) -> Found | None:
    """As `find`, and note that it was read."""
    found = find(session, scope(session, attempt), wanted)
    if found is not None:
        found.archive.read_on = now
    return found


def know(session: Session, attempt: AttemptName, wanted: Wanted, fingerprint: str, now: int) -> bool:
    """Whether this tree is kept already, for this build's eyes; then it is kept under this key too.

    Raises `Forbidden` for a build that may not write.
    """
    where = writable_scope(session, attempt)
    query = (
        select(CacheEntry, CacheArchive)
        .join(CacheArchive, col(CacheArchive.id) == CacheEntry.archive_id)
        .where(CacheEntry.worker_id == where.worker_id, col(CacheEntry.branch).in_(where.branches))
        .where(CacheEntry.name == wanted.name, CacheEntry.version == wanted.version)
        .where(CacheArchive.fingerprint == fingerprint, CacheArchive.state == STORED)
    )
    same = [(row[0], row[1]) for row in session.execute(query)]
    if not same:
        return False
    visible = find(session, where, wanted)
    if visible is None or visible.archive.fingerprint != fingerprint or visible.entry.key != wanted.key:
        put_entry(session, where, same[0][1].id, wanted, now)
    return True


def writable_scope(session: Session, attempt: AttemptName) -> Scope:
    """As `scope`. Raises `Forbidden` for a build that may not write."""
    found = scope(session, attempt)
    if not found.writable:
        raise Forbidden("a build that is not trusted may read caches, and never writes any")
    return found


def complete(session: Session, attempt: AttemptName, archive_id: str, now: int) -> CacheArchive:
    """Let an uploaded archive be found. A second call changes nothing. Raises `NotFound`."""
    where = writable_scope(session, attempt)
    archive = own_archive(session, attempt, archive_id)
    if archive.state == UPLOADING:
        archive.state, archive.read_on = STORED, now
        session.flush()
        wanted = Wanted(name=archive.name, version=archive.version, key=archive.key)
        put_entry(session, where, archive.id, wanted, now)
    return archive


def own_archive(session: Session, attempt: AttemptName, archive_id: str) -> CacheArchive:
    """An archive that this build makes. Raises `NotFound`."""
    found = session.get(CacheArchive, archive_id)
    if found is None or found.build_uuid != attempt.build_uuid or found.state == DOOMED:
        raise _not_found(archive_id)
    return found


def unfinished(session: Session, worker_id: str, build_uuid: str) -> tuple[int, int]:
    """The bytes that uploads of the worker may have put in the store so far, and how many the build has."""
    own = func.sum(case((col(CacheArchive.build_uuid) == build_uuid, 1), else_=0))
    query = (
        select(func.sum(CacheArchive.size), own)
        .where(CacheArchive.worker_id == worker_id)
        .where(CacheArchive.state == UPLOADING)
    )
    size, count = session.exec(query).one()
    return int(size or 0), int(count or 0)


def visible_archive(session: Session, attempt: AttemptName, archive_id: str) -> CacheArchive:
    """A stored archive that this build may read. Raises `NotFound`."""
    where = scope(session, attempt)
    query = (
        select(CacheArchive)
        .join(CacheEntry, col(CacheEntry.archive_id) == CacheArchive.id)
        .where(CacheArchive.id == archive_id, CacheArchive.state == STORED)
        .where(CacheEntry.worker_id == where.worker_id, col(CacheEntry.branch).in_(where.branches))
    )
    found = session.exec(query).first()
    if found is None:
        raise _not_found(archive_id)
    return found


def reject(session: Session, attempt: AttemptName, archive_id: str) -> None:
    """Doom an archive that this build may write and read. Raises `NotFound`, `Forbidden`."""
    writable_scope(session, attempt)
    doom(session, col(CacheArchive.id) == visible_archive(session, attempt, archive_id).id)


def put_entry(session: Session, where: Scope, archive_id: str, wanted: Wanted, now: int) -> None:
    """Let a key of the scope's own branch find an archive from now on."""
    row = {
        "worker_id": where.worker_id,
        "branch": where.branches[0],
        "name": wanted.name,
        "version": wanted.version,
        "key": wanted.key,
        "account_id": where.account_id,
        "archive_id": archive_id,
        "created_on": now,
    }
    upsert(session, CacheEntry, row, change={"archive_id", "created_on"})


def entries(
    session: Session, account_id: str, worker: str | None, *, limit: int, offset: int
) -> tuple[list[Found], int]:
    """A page of what is kept by a worker or by all, the latest read first, and how many there are.

    Raises `NotFound`.
    """
    kept = (
        select(CacheEntry, CacheArchive)
        .join(CacheArchive, col(CacheArchive.id) == CacheEntry.archive_id)
        .where(CacheEntry.account_id == account_id, CacheArchive.state == STORED)
    )
    if worker is not None:
        kept = kept.where(CacheEntry.worker_id == find_worker(session, account_id, worker).id)
    order = (CacheEntry.worker_id, CacheEntry.branch, CacheEntry.name, CacheEntry.version, CacheEntry.key)
    page = kept.order_by(col(CacheArchive.read_on).desc(), *order).limit(limit).offset(offset)
    found = [Found(entry=row[0], archive=row[1]) for row in session.execute(page)]
    return found, session.scalar(kept.with_only_columns(func.count(), maintain_column_froms=True)) or 0


def worker_names(session: Session, found: Iterable[Found]) -> dict[str, str]:
    """What the workers of entries are called, by their ids."""
    ids = {one.entry.worker_id for one in found}
    return dict(session.exec(select(Worker.id, Worker.name).where(col(Worker.id).in_(ids))).all())


def doom_worker(session: Session, account_id: str, worker: str) -> None:
    """Let nothing of a worker be found any more. Raises `NotFound`."""
    doom(session, col(CacheArchive.worker_id) == find_worker(session, account_id, worker).id)


def doom_old(session: Session, *, unread_since: int, unfinished_since: int, unnamed_since: int) -> None:
    """Doom what nobody has read for long, what was never finished, and what no key finds any more."""
    stored = col(CacheArchive.state) == STORED
    unnamed = col(CacheArchive.id).not_in(select(CacheEntry.archive_id))
    doom(
        session,
        or_(
            stored & (col(CacheArchive.read_on) < unread_since),
            (col(CacheArchive.state) == UPLOADING) & (col(CacheArchive.created_on) < unfinished_since),
            stored & (col(CacheArchive.read_on) < unnamed_since) & unnamed,
        ),
    )


def doom_surplus(session: Session, *, limit: int, worker_id: str | None = None) -> None:
    """Doom what each worker keeps beyond `limit` bytes, the least recently read first."""
    latest_first = (col(CacheArchive.read_on).desc(), col(CacheArchive.created_on).desc(), CacheArchive.id)
    total = (
        func.sum(CacheArchive.size)
        .over(partition_by=CacheArchive.worker_id, order_by=latest_first, rows=(None, 0))
        .label("total")
    )
    kept = select(CacheArchive.id, total).where(CacheArchive.state == STORED)
    if worker_id is not None:
        kept = kept.where(CacheArchive.worker_id == worker_id)
    totals = kept.subquery()
    doom(session, col(CacheArchive.id).in_(select(totals.c.id).where(totals.c.total > limit)))


def doom(session: Session, which: ColumnElement[bool]) -> None:
    """Let these archives never be given out again; their bytes go next, and their rows last."""
    change = update(CacheArchive).where(which).values(state=DOOMED)
    session.execute(change, execution_options={"synchronize_session": False})
    gone = select(CacheArchive.id).where(CacheArchive.state == DOOMED)
    session.execute(delete(CacheEntry).where(col(CacheEntry.archive_id).in_(gone)))
    session.expire_all()


def doomed(session: Session, *, after: str, limit: int) -> list[CacheArchive]:
    """Some of what is to be removed, by their ids from `after` on."""
    query = select(CacheArchive).where(CacheArchive.state == DOOMED, col(CacheArchive.id) > after)
    return list(session.exec(query.order_by(col(CacheArchive.id)).limit(limit)))


def forget(session: Session, ids: Sequence[str]) -> None:
    """Remove the rows of doomed archives whose bytes are gone."""
    session.execute(
        delete(CacheArchive).where(col(CacheArchive.id).in_(ids), col(CacheArchive.state) == DOOMED)
    )


def delete_of_worker(session: Session, worker_id: str) -> None:
    """Remove every row of a worker."""
    for table in (CacheEntry, CacheArchive):
        session.execute(delete(table).where(col(table.worker_id) == worker_id))


def _entries(worker_id: str, branch: str, wanted: Wanted) -> Any:
    return (
        select(CacheEntry, CacheArchive)
        .join(CacheArchive, col(CacheArchive.id) == CacheEntry.archive_id)
        .where(CacheEntry.worker_id == worker_id, CacheEntry.branch == branch)
        .where(CacheEntry.name == wanted.name, CacheEntry.version == wanted.version)
        .where(CacheArchive.state == STORED)
        .order_by(col(CacheEntry.created_on).desc())
    )


def _not_found(archive_id: str) -> NotFound:
    return NotFound(f"there is no cache archive {archive_id[:80]!r}")
