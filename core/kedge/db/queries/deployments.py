"""Which version serves a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import tuple_
from sqlmodel import col, select

from kedge.db.tables import Account, Build, Deployment, PreviewAlias, Version, Worker
from kedge.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlmodel import Session


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A version with all that a request for it needs."""

    account_id: str
    account: str
    worker_id: str
    worker: str
    version_id: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is kept of who deployed and why."""

    source: str
    author: str
    message: str


def add(session: Session, version: Version, note: Note, *, now: int) -> Deployment:
    """Let a version serve all traffic of its worker from now on."""
    deployment = Deployment(
        uuid=str(uuid4()),
        account_id=version.account_id,
        worker_id=version.worker_id,
        versions=[{"version_id": version.id, "percentage": 100}],
        source=note.source,
        author=note.author,
        message=note.message,
        created_on=now,
    )
    session.add(deployment)
    session.flush()
    return deployment


def newest(session: Session, worker_id: str, *, limit: int) -> list[Deployment]:
    """The latest deployments of a worker; the first one serves."""
    query = (
        select(Deployment)
        .where(Deployment.worker_id == worker_id)
        .order_by(col(Deployment.id).desc())
        .limit(limit)
    )
    return list(session.exec(query))


def previous_version_id(session: Session, worker_id: str, *, within: int) -> str:
    """The version that served before the present one. Raises `Conflict` if there is none."""
    served = [deployment.versions[0]["version_id"] for deployment in newest(session, worker_id, limit=within)]
    for version_id in served:
        if version_id != served[0]:
            return str(version_id)
    raise Conflict("there is no earlier version to go back to; name one, see `kedge deployments`")


def place(session: Session, worker: Worker, account: Account) -> str:
    """How the worker is found under the gateway's domain: by its name alone if that is its own."""
    older = (
        select(Worker.id)
        .where(Worker.name == worker.name)
        .where(tuple_(col(Worker.created_on), col(Worker.id)) < tuple_(worker.created_on, worker.id))
    )
    if session.exec(older.limit(1)).first() is None:
        return worker.name
    return f"{worker.name}.{account.name if _is_label(account.name) else account.id}"


def owners(
    session: Session, names: Collection[str], account: str | None
) -> dict[str, tuple[Worker, Account]]:
    """The workers that have these names; of several accounts' (unless one is given) the oldest."""
    query = (
        select(Worker, Account)
        .join(Account, col(Account.id) == Worker.account_id)
        .where(col(Worker.name).in_(names))
        .order_by(col(Worker.created_on).desc(), col(Worker.id).desc())
    )
    if account is not None:
        query = query.where((Account.name == account) | (Account.id == account))
    return {worker.name: (worker, owner) for worker, owner in session.exec(query)}


def current_version(session: Session, worker_id: str) -> Version | None:
    """The version that serves a worker."""
    deployments = newest(session, worker_id, limit=1)
    return session.get(Version, deployments[0].versions[0]["version_id"]) if deployments else None


def version_by_alias(session: Session, worker_id: str, alias: str) -> Version | None:
    """The version under a preview alias."""
    query = (
        select(Version)
        .join(PreviewAlias, col(PreviewAlias.version_id) == Version.id)
        .where(PreviewAlias.worker_id == worker_id, PreviewAlias.alias == alias)
        .where(col(PreviewAlias.deleted_on).is_(None))
    )
    return session.exec(query).first()


def version_by_prefix(session: Session, worker_id: str, prefix: str) -> Version | None:
    """The version whose id begins so; the first one made, so that its URL never shows another."""
    query = (
        select(Version)
        .where(Version.worker_id == worker_id, col(Version.id).startswith(prefix, autoescape=True))
        .order_by(col(Version.number))
    )
    return session.exec(query).first()


def _is_label(name: str) -> bool:
    return len(name) <= 63 and name.isascii() and name.replace("-", "a").isalnum() and name == name.lower()


def is_overtaken(session: Session, build: Build) -> bool:
    """Whether a newer build of the worker has gone live since `build` began to run."""
    serving = next(iter(newest(session, build.worker_id, limit=1)), None)
    if serving is None or serving.source != "build" or build.claimed_on is None:
        return False
    query = (
        select(Build.id)
        .join(Version, col(Version.build_uuid) == Build.build_uuid)
        .where(Version.id == serving.versions[0]["version_id"])
    )
    newer = session.exec(query).first()
    return newer is not None and newer > (build.id or 0) and serving.created_on >= build.claimed_on
