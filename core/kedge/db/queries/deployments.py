"""Which version serves a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import func, tuple_
from sqlmodel import col, select

from kedge.db.tables import Account, Build, Deployment, PreviewAlias, Version, Worker
from kedge.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlmodel import Session
    from sqlmodel.sql.expression import SelectOfScalar


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A version with all that a request for it needs."""

    account_id: str
    account: str
    worker_id: str
    worker: str
    version_id: str
    digest: str
    kind: str = "static"
    percentage: float = 100


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is kept of who deployed and why."""

    source: str
    author: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How much of a worker's traffic a version gets, in percent."""

    version: Version
    percentage: float = 100


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """By which names a version is reached."""

    version_id: str
    #: the worker's, see `place`
    place: str
    #: whether it is what the worker's own name leads to, or most of it
    live: bool
    alias: str | None


ACTIVE, STARTING, FAILED = "active", "starting", "failed"
#: the latest deployments that are looked at for one that has not failed
FEW = 20


def add(
    session: Session, traffic: Sequence[Traffic], note: Note, *, state: str, node: str, now: int
) -> Deployment:
    """Let versions serve their worker: from now on, or once `node` has made the deployment active."""
    deployment = Deployment(
        uuid=str(uuid4()),
        account_id=traffic[0].version.account_id,
        worker_id=traffic[0].version.worker_id,
        versions=[{"version_id": one.version.id, "percentage": one.percentage} for one in traffic],
        state=state,
        node=node,
        source=note.source,
        author=note.author,
        message=note.message,
        created_on=now,
    )
    session.add(deployment)
    session.flush()
    return deployment


def newest(session: Session, worker_id: str, *, limit: int, active: bool = False) -> list[Deployment]:
    """The latest deployments of a worker, on request those alone that serve or have served."""
    query = (
        select(Deployment)
        .where(Deployment.worker_id == worker_id)
        .order_by(col(Deployment.id).desc())
        .limit(limit)
    )
    return list(session.exec(query.where(Deployment.state == ACTIVE) if active else query))


def serving(session: Session, worker_id: str) -> Deployment | None:
    """The deployment that counts."""
    return next(iter(newest(session, worker_id, limit=1, active=True)), None)


def by_uuid(session: Session, uuid: str, *, lock: bool = False) -> Deployment | None:
    """A deployment, on request held until the transaction ends."""
    query = select(Deployment).where(Deployment.uuid == uuid)
    return session.exec(query.with_for_update() if lock else query).one_or_none()


def starting(session: Session, *, but: Collection[str]) -> list[str]:
    """The deployments that wait for instances which none of the nodes `but` starts, oldest first."""
    return [deployment.uuid for deployment in session.exec(_starting(but))]


def take_up(session: Session, node: str, *, but: Collection[str]) -> list[str]:
    """Have `node` start what none of the nodes `but` does. Of several nodes that want to, one gets each."""
    taken = list(session.exec(_starting(but).with_for_update(skip_locked=True)))
    for deployment in taken:
        deployment.node = node
    return [deployment.uuid for deployment in taken]


def _starting(but: Collection[str]) -> SelectOfScalar[Deployment]:
    query = select(Deployment).where(Deployment.state == STARTING, col(Deployment.node).not_in(but))
    return query.order_by(col(Deployment.id))


def serving_versions(session: Session, worker_ids: Collection[str]) -> dict[str, set[str]]:
    """The versions that serve each of some workers; those that have been removed are missing."""
    newest = (
        select(func.max(Deployment.id))
        .where(col(Deployment.worker_id).in_(worker_ids), Deployment.state == ACTIVE)
        .group_by(col(Deployment.worker_id))
    )
    ids = session.exec(select(Worker.id).where(col(Worker.id).in_(worker_ids)))
    found: dict[str, set[str]] = {worker_id: set() for worker_id in ids}
    for deployment in session.exec(select(Deployment).where(col(Deployment.id).in_(newest))):
        found[deployment.worker_id] = {str(share["version_id"]) for share in deployment.versions}
    return found


def main_version_id(deployment: Deployment) -> str:
    """The version that gets the most traffic; of equals the first."""
    return str(max(deployment.versions, key=lambda share: share["percentage"])["version_id"])


def versions_of(session: Session, deployment: Deployment) -> list[Traffic]:
    """What a deployment serves, the newest version first."""
    percentages = {share["version_id"]: share["percentage"] for share in deployment.versions}
    query = select(Version).where(col(Version.id).in_(percentages)).order_by(col(Version.number).desc())
    return [Traffic(version=version, percentage=percentages[version.id]) for version in session.exec(query)]


def previous_version_id(session: Session, worker_id: str, *, within: int) -> str:
    """The version that served before the present one. Raises `Conflict` if there is none."""
    found = newest(session, worker_id, limit=within, active=True)
    served = [main_version_id(deployment) for deployment in found]
    for version_id in served:
        if version_id != served[0]:
            return str(version_id)
    raise Conflict("there is no earlier version to go back to; name one, see `kedge worker versions`")


def place(session: Session, worker: Worker, account: Account) -> str:
    """How the worker is found under the gateway's domain: by its name alone if that is its own.

    It is not if an older worker of another account has that name, or may have a preview there.
    """
    parts = worker.name.split("-")
    names = ["-".join(parts[start:]) for start in range(len(parts))]
    older = (
        select(Worker.id)
        .where(col(Worker.name).in_(names), Worker.account_id != worker.account_id)
        .where(tuple_(col(Worker.created_on), col(Worker.id)) < tuple_(worker.created_on, worker.id))
    )
    if session.exec(older.limit(1)).first() is None:
        return worker.name
    return f"{worker.name}.{account.name if _is_label(account.name) else account.id}"


def whereabouts(session: Session, version: Version) -> Whereabouts:
    """Where a version is reached now."""
    worker, account = session.exec(
        select(Worker, Account)
        .join(Account, col(Account.id) == Worker.account_id)
        .where(Worker.id == version.worker_id)
    ).one()
    deployment = serving(session, worker.id)
    alias = select(PreviewAlias.alias).where(PreviewAlias.version_id == version.id)
    return Whereabouts(
        version_id=version.id,
        place=place(session, worker, account),
        live=deployment is not None and main_version_id(deployment) == version.id,
        alias=session.exec(alias).first(),
    )


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


def current_traffic(session: Session, worker_id: str) -> list[Traffic]:
    """The versions that serve a worker, the newest first."""
    deployment = serving(session, worker_id)
    return versions_of(session, deployment) if deployment else []


def version_by_alias(session: Session, worker_id: str, alias: str) -> Version | None:
    """The version under a preview alias."""
    query = (
        select(Version)
        .join(PreviewAlias, col(PreviewAlias.version_id) == Version.id)
        .where(PreviewAlias.worker_id == worker_id, PreviewAlias.alias == alias)
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


def overtaken_by(session: Session, build: Build) -> Build | None:
    """The newer build of the worker that has gone live since `build` began to run, if one has."""
    # One that waits for its instances counts too: it is about to go live.
    latest = next((one for one in newest(session, build.worker_id, limit=FEW) if one.state != FAILED), None)
    if latest is None or latest.source != "build" or build.claimed_on is None:
        return None
    query = (
        select(Build)
        .join(Version, col(Version.build_uuid) == Build.build_uuid)
        .where(Version.id == latest.versions[0]["version_id"])
    )
    newer = session.exec(query).first()
    if newer is None or (newer.id or 0) <= (build.id or 0) or latest.created_on < build.claimed_on:
        return None
    return newer
