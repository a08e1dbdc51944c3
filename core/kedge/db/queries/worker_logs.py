"""Which parts of workers' logs there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from kedge.db.tables import WorkerLog
from kedge.db.upsert import upsert
from kedge.errors import NotFound

if TYPE_CHECKING:
    from sqlmodel import Session


def parts(session: Session, worker_id: str, node: str) -> tuple[int, int]:
    """The first and the last part that a node keeps; one part if nothing was written yet."""
    found = session.get(WorkerLog, (worker_id, node))
    return (1, 1) if found is None else (found.first, found.last)


def of_nodes(session: Session, worker_id: str) -> dict[str, tuple[int, int]]:
    """The same for every node that has written something."""
    found = session.exec(select(WorkerLog).where(WorkerLog.worker_id == worker_id))
    return {one.node: (one.first, one.last) for one in found}


def set_parts(session: Session, worker_id: str, node: str, first: int, last: int) -> None:
    """A node keeps others now. Raises `NotFound` for a worker that has been removed."""
    values = {"worker_id": worker_id, "node": node, "first": first, "last": last}
    try:
        upsert(session, WorkerLog, values, change={"first", "last"})
    except IntegrityError as error:
        raise NotFound("the worker has been removed") from error
