"""What is still needed: versions by the rules that keep them, and blobs by the rows that stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, func
from sqlmodel import col, or_, select

from kedge.db.queries.deployments import ACTIVE, STARTING
from kedge.db.tables import Attempt, CacheArchive, Deployment, PreviewAlias, Upload, Version, Worker

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlmodel import Session


class ManifestName(NamedTuple):
    """A manifest in the blob store."""

    account_id: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A version stays for any one of these, for its alias, and while it serves or is about to."""

    #: how many of a worker's newest ones
    versions: int
    #: those made since
    since: int
    #: those of so many of a worker's latest deployments, of which the first one serves
    deployments: int


def expired(session: Session, rules: Rules, account_id: str | None = None) -> list[Version]:
    """The versions that no rule keeps, of one account or of all."""
    newest_first = func.row_number().over(
        partition_by=col(Version.worker_id), order_by=col(Version.number).desc()
    )
    ranked = select(Version.id, newest_first.label("rank")).subquery()
    query = (
        select(Version)
        .join(ranked, ranked.c.id == Version.id)
        .where(ranked.c.rank > rules.versions, Version.created_on < rules.since)
        .where(col(Version.id).not_in(select(PreviewAlias.version_id)))
        .order_by(Version.worker_id, col(Version.number))
    )
    if account_id is not None:
        query = query.where(Version.account_id == account_id)
    found = list(session.exec(query))
    deployed = _deployed(session, rules.deployments) if found else set()
    return [version for version in found if version.id not in deployed]


def _deployed(session: Session, count: int) -> set[str]:
    latest_first = func.row_number().over(
        partition_by=col(Deployment.worker_id), order_by=col(Deployment.id).desc()
    )
    ranked = select(Deployment.id, latest_first.label("rank")).where(Deployment.state == ACTIVE).subquery()
    query: Any = (
        select(Deployment.versions)
        .join(ranked, ranked.c.id == Deployment.id, isouter=True)
        .where(or_(ranked.c.rank <= count, col(Deployment.state) == STARTING))
    )
    return {share["version_id"] for shares in session.exec(query) for share in shares}


def remove_expired(
    session: Session, rules: Rules, account_id: str | None = None
) -> tuple[list[Version], set[str]]:
    """Remove them; return them and the names of their workers."""
    found = expired(session, rules, account_id)
    workers = {version.worker_id for version in found}
    names = set(session.exec(select(Worker.name).where(col(Worker.id).in_(workers))))
    session.execute(delete(Version).where(col(Version.id).in_([version.id for version in found])))
    return found, names


def manifests(session: Session, accounts: Collection[str], but: Collection[str] = ()) -> set[ManifestName]:
    """The manifests of all versions of some accounts, without those in `but`, and of uploads under way."""
    versions = select(Version.account_id, Version.digest).where(col(Version.account_id).in_(accounts))
    if but:
        versions = versions.where(col(Version.id).not_in(but))
    digest, completed = (col(Upload.request)[name].as_string() for name in ("digest", "completed"))
    uploads: Any = (
        select(col(Upload.account_id), digest)
        .where(col(Upload.account_id).in_(accounts))
        .where(completed.is_(None))
    )
    rows = [*session.exec(versions.distinct()), *session.execute(uploads)]
    return {ManifestName(account, digest) for account, digest in rows}


def archives(session: Session, ids: Collection[str]) -> set[str]:
    """Which of these archives of build caches are known."""
    return set(session.exec(select(CacheArchive.id).where(col(CacheArchive.id).in_(ids))))


def builds(session: Session, uuids: Collection[str]) -> set[str]:
    """Which of these builds are known."""
    return set(session.exec(select(Attempt.build_uuid).where(col(Attempt.build_uuid).in_(uuids))))


def workers(session: Session, ids: Collection[str]) -> set[str]:
    """Which of these workers are known."""
    return set(session.exec(select(Worker.id).where(col(Worker.id).in_(ids))))
