"""Repo connections of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_
from sqlmodel import col, select

from kedge.db.tables import RepoConnection
from kedge.errors import NotFound

if TYPE_CHECKING:
    from sqlmodel import Session


def upsert_connection(session: Session, wanted: RepoConnection) -> RepoConnection:
    """The account's connection to that repository, made or revived if need be."""
    found = session.exec(
        select(RepoConnection)
        .where(RepoConnection.account_id == wanted.account_id)
        .where(RepoConnection.provider_type == wanted.provider_type)
        .where(RepoConnection.provider_account_id == wanted.provider_account_id)
        .where(RepoConnection.repo_id == wanted.repo_id)
    ).one_or_none()
    if found is None:
        session.add(wanted)
        return wanted
    found.repo_name = wanted.repo_name
    found.provider_account_name = wanted.provider_account_name
    found.deleted_on = None
    found.modified_on = wanted.modified_on
    return found


def connection(session: Session, account_id: str, uuid: str) -> RepoConnection:
    """A connection of the account that has not been removed. Raises `NotFound`."""
    found = session.get(RepoConnection, uuid)
    if found is None or found.account_id != account_id or found.deleted_on is not None:
        raise NotFound(f"there is no repo connection {uuid[:80]!r}")
    return found


def find_connection(
    session: Session, account_id: str, *, provider: str, owner: str, repo: str
) -> RepoConnection:
    """The account's connection to a repository by ids or names. Raises `NotFound`."""
    owners = (col(RepoConnection.provider_account_id), col(RepoConnection.provider_account_name))
    repos = (col(RepoConnection.repo_id), col(RepoConnection.repo_name))
    query = (
        select(RepoConnection)
        .where(RepoConnection.account_id == account_id, RepoConnection.provider_type == provider)
        .where(or_(*(one == owner for one in owners)), or_(*(one == repo for one in repos)))
        .where(col(RepoConnection.deleted_on).is_(None))
        .order_by(col(RepoConnection.created_on))
    )
    found = session.exec(query).first()
    if found is None:
        raise NotFound("the account is not connected to that repository: PUT /builds/repos/connections first")
    return found


def delete_connection(session: Session, account_id: str, uuid: str, now: int) -> None:
    """Remove a connection. Raises `NotFound`."""
    connection(session, account_id, uuid).deleted_on = now
