"""What placement learnt, kept for the next start and for other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlmodel import col, select

from kedge.db.tables import MeasuredWay, PlacementMemory, Worker
from kedge.db.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlmodel import Session

#: ways that were not measured for so long are forgotten
WAY_LIFETIME_MS = 24 * 3600 * 1000


def remember(
    session: Session, location: str, known: Mapping[str, dict[str, Any] | None], *, now: int
) -> None:
    """Keep what a location knows of each worker; `None` forgets it. Workers that are gone are passed over."""
    there = set(session.exec(select(Worker.id).where(col(Worker.id).in_(known))))
    for worker_id, row in known.items():
        if row is None or worker_id not in there:
            forget(session, worker_id, location)
            continue
        values = {"worker_id": worker_id, "location": location, "modified_on": now, **row}
        upsert(
            session,
            PlacementMemory,
            values,
            change={"version_id", "state", "explanation", "modified_on"},
        )


def forget(session: Session, worker_id: str, location: str) -> None:
    """What a location knows of a worker holds no more."""
    session.execute(
        delete(PlacementMemory).where(
            col(PlacementMemory.worker_id) == worker_id, col(PlacementMemory.location) == location
        )
    )


def remembered(session: Session, location: str, *, limit: int) -> list[PlacementMemory]:
    """What a location knew, the latest first."""
    query = (
        select(PlacementMemory)
        .where(PlacementMemory.location == location)
        .order_by(col(PlacementMemory.modified_on).desc())
        .limit(limit)
    )
    return list(session.exec(query))


def of_worker(session: Session, worker_id: str) -> list[PlacementMemory]:
    """What every location knows of a worker."""
    query = select(PlacementMemory).where(PlacementMemory.worker_id == worker_id)
    return list(session.exec(query.order_by(col(PlacementMemory.location))))


def remember_ways(session: Session, source: str, ways: Mapping[str, float], *, now: int) -> None:
    """Keep the round-trip times from a location; old ones go."""
    for target, rtt_ms in sorted(ways.items()):
        values = {"source": source, "target": target, "rtt_ms": rtt_ms, "modified_on": now}
        upsert(session, MeasuredWay, values, change={"rtt_ms", "modified_on"})
    session.execute(delete(MeasuredWay).where(col(MeasuredWay.modified_on) < now - WAY_LIFETIME_MS))


def remembered_ways(session: Session, *, now: int) -> Sequence[MeasuredWay]:
    """The round-trip times from every location."""
    return session.exec(select(MeasuredWay).where(MeasuredWay.modified_on >= now - WAY_LIFETIME_MS)).all()
