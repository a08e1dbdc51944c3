"""Secrets of workers, always encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlmodel import col, select

from kedge.db.queries.versions import find_worker
from kedge.db.tables import Version, WorkerSecret
from kedge.db.upsert import upsert
from kedge.errors import NotFound

if TYPE_CHECKING:
    from sqlmodel import Session


def of_worker(session: Session, account_id: str, worker: str) -> list[WorkerSecret]:
    """Every secret of a worker, by name. Raises `NotFound` for an unknown worker."""
    found = find_worker(session, account_id, worker)
    query = select(WorkerSecret).where(WorkerSecret.worker_id == found.id).order_by(WorkerSecret.name)
    return list(session.exec(query))


def put(session: Session, account_id: str, worker: str, name: str, *, value: str, now: int) -> None:
    """Set a secret, of which `value` is the encrypted form. Raises `NotFound` for an unknown worker."""
    found = find_worker(session, account_id, worker)
    values = {
        "worker_id": found.id,
        "name": name,
        "account_id": account_id,
        "value": value,
        "modified_on": now,
    }
    upsert(session, WorkerSecret, values, change={"value", "modified_on"})


def remove(session: Session, account_id: str, worker: str, name: str) -> None:
    """Forget a secret; versions that have it keep it. Raises `NotFound`."""
    found = find_worker(session, account_id, worker)
    gone = session.execute(
        delete(WorkerSecret)
        .where(col(WorkerSecret.worker_id) == found.id, col(WorkerSecret.name) == name)
        .returning(col(WorkerSecret.name))
    )
    if not list(gone.scalars()):
        raise NotFound(f"the worker has no secret {name[:80]!r}; see `kedge secret list`")


def version_secrets(session: Session, version: Version) -> dict[str, str]:
    """What a new version is given: the worker's secrets as they are now. Files alone need none."""
    if version.kind == "static":
        return {}
    query = select(WorkerSecret).where(WorkerSecret.worker_id == version.worker_id)
    return {secret.name: secret.value for secret in session.exec(query)}
