"""Triggers and their variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlmodel import col, select

from kedge.db.queries.repos import connection
from kedge.db.queries.versions import find_worker
from kedge.db.tables import BuildToken, RepoConnection, Trigger, TriggerVariable
from kedge.db.upsert import upsert
from kedge.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from sqlmodel import Session

MOST_VARIABLES = 64
MOST_TRIGGERS = 100


def trigger(session: Session, account_id: str, uuid: str) -> Trigger:
    """A trigger of the account that has not been removed. Raises `NotFound`."""
    found = session.get(Trigger, uuid)
    if found is None or found.account_id != account_id or found.deleted_on is not None:
        raise NotFound(f"there is no trigger {uuid[:80]!r}")
    return found


def triggers_of_worker(
    session: Session, account_id: str, worker: str
) -> list[tuple[Trigger, RepoConnection]]:
    """The triggers of a worker with their connections, oldest first. Raises `NotFound`."""
    worker_id = find_worker(session, account_id, worker).id
    rows = session.exec(
        select(Trigger, RepoConnection)
        .join(RepoConnection, col(RepoConnection.uuid) == Trigger.repo_connection_uuid)
        .where(Trigger.worker_id == worker_id, col(Trigger.deleted_on).is_(None))
        .order_by(col(Trigger.created_on), col(Trigger.name).desc())
    )
    return [(row[0], row[1]) for row in rows]


def add_trigger(session: Session, wanted: Trigger) -> RepoConnection:
    """Store a trigger, whose worker and connection must be the account's own. Raises `NotFound`."""
    wanted.worker_id = find_worker(session, wanted.account_id, wanted.worker_id).id
    if len(triggers_of_worker(session, wanted.account_id, wanted.worker_id)) >= MOST_TRIGGERS:
        raise Conflict(f"a worker may have {MOST_TRIGGERS} triggers; remove one first")
    _check_token(session, wanted.account_id, wanted.build_token_uuid)
    found = connection(session, wanted.account_id, wanted.repo_connection_uuid)
    session.add(wanted)
    return found


def change_trigger(
    session: Session, account_id: str, uuid: str, values: dict[str, Any], now: int
) -> tuple[Trigger, RepoConnection | None]:
    """Set some columns of a trigger. Raises `NotFound`."""
    found = trigger(session, account_id, uuid)
    if "repo_connection_uuid" in values:
        connection(session, account_id, values["repo_connection_uuid"])
    _check_token(session, account_id, values.get("build_token_uuid"))
    for name, value in values.items():
        setattr(found, name, value)
    found.modified_on = now
    return found, session.get(RepoConnection, found.repo_connection_uuid)


def delete_trigger(session: Session, account_id: str, uuid: str, now: int) -> None:
    """Mark a trigger as removed. Raises `NotFound`."""
    trigger(session, account_id, uuid).deleted_on = now


def variables(session: Session, account_id: str, uuid: str) -> list[TriggerVariable]:
    """The variables of a trigger, by key. Raises `NotFound`."""
    trigger(session, account_id, uuid)
    query = select(TriggerVariable).where(TriggerVariable.trigger_uuid == uuid)
    return list(session.exec(query.order_by(TriggerVariable.key)))


def set_variables(
    session: Session, account_id: str, uuid: str, values: dict[str, tuple[bool, bytes]], now: int
) -> list[TriggerVariable]:
    """Set variables (secret or not, encrypted value); return all there are then.

    Raises `NotFound`, or `InvalidInput` for too many.
    """
    known = {variable.key for variable in variables(session, account_id, uuid)}
    if len(known | values.keys()) > MOST_VARIABLES:
        raise InvalidInput(f"a trigger may have {MOST_VARIABLES} variables")
    for key, (is_secret, value) in values.items():
        row = {
            "trigger_uuid": uuid,
            "key": key,
            "account_id": account_id,
            "is_secret": is_secret,
            "value": value,
            "created_on": now,
        }
        upsert(session, TriggerVariable, row, change={"is_secret", "value", "created_on"})
    session.expire_all()
    return variables(session, account_id, uuid)


def delete_variable(session: Session, account_id: str, uuid: str, key: str) -> None:
    """Remove a variable. Raises `NotFound`."""
    trigger(session, account_id, uuid)
    removed = session.execute(
        delete(TriggerVariable)
        .where(col(TriggerVariable.trigger_uuid) == uuid, col(TriggerVariable.key) == key)
        .returning(col(TriggerVariable.key))
    )
    if removed.first() is None:
        raise NotFound(f"the trigger has no variable {key[:80]!r}")


def _check_token(session: Session, account_id: str, uuid: str | None) -> None:
    if uuid is None:
        return
    found = session.get(BuildToken, uuid)
    if found is None or found.account_id != account_id:
        raise NotFound(f"there is no build token {uuid[:80]!r}")
