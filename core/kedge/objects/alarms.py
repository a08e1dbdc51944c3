"""Rings alarms: at least once, with back-off after an error, again after a crash."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Integer, bindparam, delete, func, or_, update
from sqlmodel import col, select

from kedge.db.clock import now_ms
from kedge.db.tables import ObjectAlarm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlmodel import Session

    from kedge.db.engine import Database

log = structlog.get_logger("alarms")

NEXT_DUE = select(func.min(ObjectAlarm.due_on), func.min(ObjectAlarm.ringing_until))
_DUE = col(ObjectAlarm.due_on) <= bindparam("now")
_RINGING_UNTIL = col(ObjectAlarm.ringing_until)
DUE = (
    select(ObjectAlarm)
    .where(or_(_DUE & _RINGING_UNTIL.is_(None), bindparam("now") >= _RINGING_UNTIL))
    .order_by(col(ObjectAlarm.due_on))
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_RUNG = (
    col(ObjectAlarm.class_name) == bindparam("class"),
    col(ObjectAlarm.object_id) == bindparam("object"),
    col(ObjectAlarm.ringing_for) == bindparam("moment"),
)
DELETE_RUNG = (
    delete(ObjectAlarm)
    .where(*_RUNG, col(ObjectAlarm.due_on).is_(None))
    .execution_options(synchronize_session=False)
)
KEEP_RUNG = (
    update(ObjectAlarm)
    .where(*_RUNG)
    .values(ringing_for=None, ringing_until=None, retries=0)
    .execution_options(synchronize_session=False)
)

SWEEP_SECONDS = 1.0
FIRST_BACKOFF_MS = 2_000
RETRIES = 6
#: an alarm that rings longer than this counts as lost with its node
LEASE_MS = 120_000
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Ringing:
    """An alarm that was claimed and rings now."""

    class_name: str
    object_id: str
    ringing_for: int
    retries: int


class AlarmClock:
    """Claims due alarms and calls `ring` for each, many at a time, never twice at once for one object."""

    def __init__(self, db: Database, ring: Callable[[str, str, int], Awaitable[None]], node: str) -> None:
        """`ring(class_name, object_id, retries)` delivers one alarm; `node` is this one's name."""
        self._node = node
        self._db = db
        self._ring = ring
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakeup = asyncio.Event()
        self._next_due = 0

    def wake(self, due_on: int) -> None:
        """An alarm was set: look at it in time, not only at the next sweep."""
        if due_on < self._next_due:
            self._wakeup.set()

    async def run(self) -> None:
        """Ring alarms until cancelled."""
        try:
            while True:
                self._wakeup.clear()
                await self.ring_due()
                wait = (self._next_due - now_ms()) / 1000
                await _wait(self._wakeup, min(max(wait, 0.0), SWEEP_SECONDS))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ring_due(self) -> None:
        """Start every alarm that is due now, and note when the next one will be."""
        now = now_ms()
        self._next_due = now + int(SWEEP_SECONDS * 1000)
        due = await self._db.read(_next_due)
        if due is not None and due <= now and len(self._tasks) < BATCH:
            for alarm in await self._db.write(_claim, self._node, now, BATCH - len(self._tasks)):
                task = asyncio.create_task(self.deliver(alarm))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            due = await self._db.read(_next_due)
        if due is not None:
            self._next_due = min(self._next_due, due)

    async def deliver(self, alarm: Ringing) -> None:
        """Ring one claimed alarm and settle it: done, again later, or given up."""
        try:
            await self._ring(alarm.class_name, alarm.object_id, alarm.retries)
        except Exception:
            given_up = alarm.retries >= RETRIES
            log.exception(
                "alarm failed",
                object=f"{alarm.class_name}/{alarm.object_id}",
                retries=alarm.retries,
                given_up=given_up,
            )
            await self._db.write(_settle_failed, alarm, now_ms())
        else:
            await self._db.write(_settle, alarm)
        if self._wakeup is not None:
            self._wakeup.set()

    async def recover(self) -> None:
        """Ring again what was ringing on this node when its process died."""
        await self._db.write(_ring_again, self._node)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _next_due(session: Session) -> int | None:
    due, lost = session.execute(NEXT_DUE).one()
    return min((moment for moment in (due, lost) if moment is not None), default=None)


def _claim(session: Session, node: str, now: int, most: int) -> list[Ringing]:
    """Alarms that are due and do not ring, and those whose ringing was lost."""
    rows = session.execute(DUE, {"now": now, "most": most}).scalars().all()
    claimed = []
    for row in rows:
        row.ringing_for = row.ringing_for or row.due_on or now
        if row.due_on is not None and row.due_on <= now:
            row.due_on = None
        row.ringing_until = now + LEASE_MS
        row.ringing_node = node
        claimed.append(
            Ringing(
                class_name=row.class_name,
                object_id=row.object_id,
                ringing_for=row.ringing_for,
                retries=row.retries,
            )
        )
    return claimed


def _settle(session: Session, alarm: Ringing) -> None:
    values = {"class": alarm.class_name, "object": alarm.object_id, "moment": alarm.ringing_for}
    session.execute(DELETE_RUNG, values)
    session.execute(KEEP_RUNG, values)


def _settle_failed(session: Session, alarm: Ringing, now: int) -> None:
    row = session.get(ObjectAlarm, {"class_name": alarm.class_name, "object_id": alarm.object_id})
    if row is None or row.ringing_for != alarm.ringing_for:
        return
    row.ringing_for = row.ringing_until = None
    if alarm.retries < RETRIES and row.due_on is None:
        row.due_on = now + FIRST_BACKOFF_MS * 2**alarm.retries
        row.retries = alarm.retries + 1
    elif row.due_on is None:
        session.delete(row)


def _ring_again(session: Session, node: str) -> None:
    session.execute(
        update(ObjectAlarm)
        .where(col(ObjectAlarm.ringing_until).is_not(None))
        .where(or_(col(ObjectAlarm.ringing_node) == node, col(ObjectAlarm.ringing_node).is_(None)))
        .values(
            due_on=func.coalesce(ObjectAlarm.due_on, ObjectAlarm.ringing_for),
            ringing_for=None,
            ringing_until=None,
        )
    )
