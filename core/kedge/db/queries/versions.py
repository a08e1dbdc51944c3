"""Uploads, the versions they become, and the aliases of versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, update
from sqlmodel import col, select

from kedge.build_states import Status
from kedge.db.tables import Account, Build, PreviewAlias, Upload, Version, Worker
from kedge.db.upsert import upsert
from kedge.errors import Forbidden, NotFound, StaleAttempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session


def find_worker(session: Session, account_id: str, worker: str) -> Worker:
    """A worker of the account by its tag or its name. Raises `NotFound`."""
    query = select(Worker).where(Worker.account_id == account_id)
    found = (
        session.exec(query.where(Worker.id == worker)).first()
        or session.exec(query.where(Worker.name == worker)).first()
    )
    if found is None:
        raise NotFound(f"there is no worker {worker[:80]!r}; `kedge worker list` shows those there are")
    return found


def account(session: Session, account_id: str) -> Account:
    """An account that is known to be there."""
    return session.exec(select(Account).where(Account.id == account_id)).one()


def deploying_build(session: Session, build_uuid: str, worker: Worker) -> Build:
    """The build whose token deploys `worker`.

    Raises `Forbidden` for another worker's build and for one that is not trusted, `StaleAttempt` for one
    that has ended or shall.
    """
    build = session.exec(select(Build).where(Build.build_uuid == build_uuid)).one_or_none()
    if build is None or (build.account_id, build.worker_id) != (worker.account_id, worker.id):
        raise Forbidden("the token of a build deploys the worker of that build and no other")
    if not build.trusted:
        raise Forbidden("code of somebody who may not write to the repository is built and not deployed")
    if build.status == Status.STOPPED or build.cancel_requested:
        raise StaleAttempt(f"build {build_uuid} has ended or was cancelled: it deploys nothing any more")
    return build


def find_upload(session: Session, upload_id: str, *, lock: bool = False) -> tuple[Upload, Worker]:
    """An upload and its worker, on request held until the transaction ends. Raises `NotFound`."""
    uploads = select(Upload).where(Upload.id == upload_id)
    upload = session.exec(uploads.with_for_update() if lock else uploads).one_or_none()
    if upload is None:
        raise upload_not_found()
    workers = select(Worker).where(Worker.id == upload.worker_id)
    return upload, session.exec(workers.with_for_update() if lock else workers).one()


def upload_not_found() -> NotFound:
    """The answer to an unknown, foreign or forgotten upload."""
    return NotFound("there is no such upload; uploads are kept for a day. Begin again")


def next_number(session: Session, worker_id: str) -> int:
    """The number of a worker's next version. The worker must be locked."""
    highest = session.exec(select(func.max(Version.number)).where(Version.worker_id == worker_id)).one()
    return (highest or 0) + 1


def set_alias(session: Session, version: Version, alias: str, *, keep: int, now: int) -> None:
    """Show a version under an alias; only the `keep` most recently used aliases of a worker stay."""
    values = {
        "worker_id": version.worker_id,
        "alias": alias,
        "account_id": version.account_id,
        "version_id": version.id,
        "created_on": now,
        "modified_on": now,
    }
    upsert(session, PreviewAlias, values, change={"version_id", "modified_on"})
    kept = (
        select(PreviewAlias.alias)
        .where(PreviewAlias.worker_id == version.worker_id)
        .order_by(col(PreviewAlias.modified_on).desc(), col(PreviewAlias.alias) != alias)
        .limit(keep)
    )
    session.execute(
        delete(PreviewAlias)
        .where(col(PreviewAlias.worker_id) == version.worker_id)
        .where(col(PreviewAlias.alias).not_in(kept))
    )


def note_build_version(session: Session, build_uuid: str, version_id: str) -> None:
    """Tell a build which version it made."""
    session.execute(update(Build).where(col(Build.build_uuid) == build_uuid).values(version_id=version_id))


def get(session: Session, worker_id: str, version_id: str) -> Version:
    """A version of a worker. Raises `NotFound`."""
    query = select(Version).where(Version.id == version_id, Version.worker_id == worker_id)
    version = session.exec(query).one_or_none()
    if version is None:
        raise NotFound(f"the worker has no version {version_id[:80]!r}; old ones are cleared away")
    return version


def newest(session: Session, worker_id: str, *, limit: int, offset: int) -> list[Version]:
    """Versions of a worker, newest first."""
    query = (
        select(Version)
        .where(Version.worker_id == worker_id)
        .order_by(col(Version.number).desc())
        .limit(limit)
        .offset(offset)
    )
    return list(session.exec(query))


def count(session: Session, worker_id: str) -> int:
    """How many versions a worker has."""
    return session.exec(select(func.count()).where(Version.worker_id == worker_id)).one()


def delete_uploads(session: Session, *, before: int) -> Sequence[str]:
    """Forget uploads begun before a moment; return their ids."""
    deleted = session.execute(delete(Upload).where(col(Upload.created_on) < before).returning(col(Upload.id)))
    return list(deleted.scalars())
