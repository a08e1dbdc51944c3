"""Who is there, by the clock of the database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, text, update
from sqlalchemy import select as columns
from sqlmodel import col, select

from kedge.db.tables import Attempt, Build, NodeRow, ObjectAlarm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlmodel import Session

#: a node that has not been seen for so long is gone
GONE_AFTER_MS = 10_000

_NOW: Any = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
SEEN = text(
    "INSERT INTO node (name, location, region, url, compute, load, database_ms, started_on, seen_on) "
    "VALUES (:name, :location, :region, :url, :compute, :load, :database_ms, :now, :now) "
    "ON CONFLICT (name) DO UPDATE SET seen_on = excluded.seen_on, location = excluded.location, "
    "region = excluded.region, url = excluded.url, compute = excluded.compute, load = excluded.load, "
    "database_ms = excluded.database_ms"
)
GONE = delete(NodeRow).where(col(NodeRow.seen_on) < bindparam("before")).returning(col(NodeRow.name))
RING_ELSEWHERE = (
    update(ObjectAlarm)
    .where(col(ObjectAlarm.ringing_until).is_not(None), col(ObjectAlarm.ringing_node) == bindparam("name"))
    .values(
        due_on=func.coalesce(ObjectAlarm.due_on, ObjectAlarm.ringing_for),
        ringing_for=None,
        ringing_until=None,
    )
    .execution_options(synchronize_session=False)
)
HEARD = (
    update(Attempt)
    .where(col(Attempt.build_uuid) == bindparam("this_build"), col(Attempt.number) == bindparam("this_one"))
    .where(func.coalesce(Attempt.heard_on, 0) < bindparam("moment"))
    .values(heard_on=bindparam("moment"))
    .execution_options(synchronize_session=False)
)
PRESENT = columns(
    col(NodeRow.name),
    col(NodeRow.location),
    col(NodeRow.region),
    col(NodeRow.url),
    col(NodeRow.compute),
    col(NodeRow.load),
    col(NodeRow.database_ms),
)
TO_END: Any = (
    select(Attempt)
    .join(Build, (col(Build.id) == Attempt.build_id) & (col(Build.attempt) == Attempt.number))
    .where(col(Attempt.node) == bindparam("node"), col(Attempt.ended_on).is_(None))
    .where(col(Attempt.compute_id).is_not(None), col(Build.cancel_requested))
)
ENDED: Any = (
    select(Attempt)
    .where(col(Attempt.node) == bindparam("node"), col(Attempt.ended_on) > bindparam("since"))
    .where(col(Attempt.compute_id).is_not(None))
)


@dataclass(frozen=True, kw_only=True)
class Present:
    """A node as the others see it."""

    name: str
    location: str
    region: str | None
    url: str
    compute: str
    load: float
    database_ms: float | None = None


def ping(session: Session) -> None:
    """The least that a transaction can do."""
    session.execute(text("SELECT 1"))


def beat(session: Session, node: Present, heard: dict[tuple[str, int], int]) -> tuple[int, list[str]]:
    """Show that this node lives and which runners it heard.

    Return the time, and the nodes that are gone since last time: what rang on those rings again, on any node.
    """
    now: int = session.execute(_NOW).scalar_one()
    session.execute(SEEN, {**asdict(node), "now": now})
    for (build_uuid, number), moment in sorted(heard.items()):
        session.execute(HEARD, {"this_build": build_uuid, "this_one": number, "moment": moment})
    gone = list(session.execute(GONE, {"before": now - GONE_AFTER_MS}).scalars())
    ring_elsewhere(session, gone)
    return now, gone


def ring_elsewhere(session: Session, nodes: Iterable[str]) -> None:
    """Let what rings on these nodes ring again."""
    for name in nodes:
        session.execute(RING_ELSEWHERE, {"name": name})


def leave(session: Session, name: str) -> None:
    """A node ends in good order."""
    ring_elsewhere(session, [name])
    session.execute(delete(NodeRow).where(col(NodeRow.name) == name))


def names(session: Session) -> set[str]:
    """Their names."""
    return {one.name for one in present(session)}


def present(session: Session) -> list[Present]:
    """The nodes that live, as far as is known."""
    return [Present(**row) for row in session.execute(PRESENT).mappings()]


def to_end(session: Session, node: str) -> list[Attempt]:
    """Attempts on a node's own compute that somebody asked to cancel."""
    return list(session.execute(TO_END, {"node": node}).scalars())


def ended(session: Session, node: str, since: int) -> list[Attempt]:
    """Attempts on a node's own compute that somebody has ended lately."""
    return list(session.execute(ENDED, {"node": node, "since": since}).scalars())
