"""Workers of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from kedge.db.queries import caches
from kedge.db.queries.versions import find_worker
from kedge.db.tables import (
    Attempt,
    Build,
    DeployHook,
    Deployment,
    PlacementMemory,
    PreviewAlias,
    Trigger,
    TriggerVariable,
    Upload,
    Version,
    Worker,
    WorkerLog,
    WorkerSecret,
)
from kedge.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlmodel import Session

#: in an order in which they can be removed
OF_A_WORKER = (
    Trigger,
    PreviewAlias,
    PlacementMemory,
    Upload,
    Deployment,
    WorkerSecret,
    WorkerLog,
    Version,
)


def list_workers(session: Session, account_id: str) -> list[Worker]:
    """Every worker of the account, by name."""
    query = select(Worker).where(Worker.account_id == account_id).order_by(Worker.name)
    return list(session.exec(query))


def names(session: Session, ids: Collection[str]) -> dict[str, str]:
    """What workers are called, by their ids."""
    return dict(session.exec(select(Worker.id, Worker.name).where(col(Worker.id).in_(ids))).all())


def add_worker(session: Session, worker: Worker) -> None:
    """Store a new worker. Raises `Conflict` if its name is taken."""
    session.add(worker)
    _flush(session, worker.name)


def rename_worker(session: Session, account_id: str, worker: str, name: str, now: int) -> Worker:
    """Give a worker another name. Raises `NotFound`, or `Conflict` if the name is taken."""
    found = find_worker(session, account_id, worker)
    if found.name != name:
        found.name, found.modified_on = name, now
        _flush(session, name)
    return found


def retire_worker(session: Session, account_id: str, worker: str, now: int) -> tuple[Worker, list[str]]:
    """Remove what makes a worker build; return it and every trigger it ever had. Raises `NotFound`."""
    found = find_worker(session, account_id, worker)
    tag = found.id
    session.execute(delete(DeployHook).where(col(DeployHook.worker_id) == tag))
    of_worker = col(Trigger.worker_id) == tag
    session.execute(
        update(Trigger).where(of_worker, col(Trigger.deleted_on).is_(None)).values(deleted_on=now)
    )
    return found, list(session.exec(select(Trigger.uuid).where(of_worker)))


def logs_of_worker(session: Session, worker_id: str) -> list[tuple[str, int]]:
    """The build and number of every attempt of a worker."""
    query = select(Attempt.build_uuid, Attempt.number).join(Build, col(Build.id) == Attempt.build_id)
    return list(session.exec(query.where(Build.worker_id == worker_id)))


def delete_worker(session: Session, worker_id: str) -> None:
    """Remove a worker and every row that belongs to it."""
    builds = select(Build.id).where(Build.worker_id == worker_id)
    triggers = select(Trigger.uuid).where(Trigger.worker_id == worker_id)
    session.execute(delete(Attempt).where(col(Attempt.build_id).in_(builds)))
    session.execute(delete(Build).where(col(Build.worker_id) == worker_id))
    session.execute(delete(TriggerVariable).where(col(TriggerVariable.trigger_uuid).in_(triggers)))
    caches.delete_of_worker(session, worker_id)
    for table in OF_A_WORKER:
        session.execute(delete(table).where(col(table.worker_id) == worker_id))
    session.execute(delete(Worker).where(col(Worker.id) == worker_id))


def _flush(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"there is a worker {name} already; choose another name") from error
