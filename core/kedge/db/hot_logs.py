"""Logs that grow, as rows: every node reads them, and none is left once the blob store has the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlmodel import col

from kedge.contracts.log_store import HotFrame, LogExtent, LogKey
from kedge.db.tables import HotChunk, HotLog
from kedge.db.upsert import upsert
from kedge.errors import Conflict, LogGap

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.db.engine import Database

#: chunks that are read at once
BATCH = 32
UNSYNCED = {"synchronize_session": False}

_THIS_LOG = (col(HotLog.log_id) == bindparam("this_log"), col(HotLog.part) == bindparam("this_part"))
_ITS_CHUNKS = (
    col(HotChunk.log_id) == bindparam("this_log"),
    col(HotChunk.part) == bindparam("this_part"),
)
_COLUMNS: Any = (
    col(HotLog.size),
    col(HotLog.next_number),
    col(HotLog.head_end),
    col(HotLog.gap_end),
    col(HotLog.sealed),
)
LOOK = select(*_COLUMNS).where(*_THIS_LOG)
HOLD = LOOK.with_for_update()
ADD = insert(HotChunk)
GROW = (
    update(HotLog)
    .where(*_THIS_LOG)
    .values(
        size=bindparam("new_size"),
        next_number=bindparam("new_number"),
        head_end=bindparam("new_head_end"),
        gap_end=bindparam("new_gap_end"),
    )
    .returning(*_COLUMNS)
    .execution_options(**UNSYNCED)
)
SEAL = update(HotLog).where(*_THIS_LOG).values(sealed=True).execution_options(**UNSYNCED)
KEPT_FROM = select(func.min(HotChunk.position)).where(
    *_ITS_CHUNKS, col(HotChunk.position) >= bindparam("wanted")
)
DROP = (
    delete(HotChunk)
    .where(*_ITS_CHUNKS, col(HotChunk.position) >= bindparam("from_here"))
    .where(col(HotChunk.position) < bindparam("to_there"))
    .execution_options(**UNSYNCED)
)
_FRAMES: Any = select(
    col(HotChunk.number),
    col(HotChunk.position).label("offset"),
    col(HotChunk.time_ms),
    col(HotChunk.size),
    col(HotChunk.frame),
).where(*_ITS_CHUNKS)
_NUMBER = col(HotChunk.number)
FRAMES = (
    _FRAMES.where(col(HotChunk.position) < bindparam("end"))
    .where(col(HotChunk.position) + col(HotChunk.size) > bindparam("start"))
    .order_by(_NUMBER)
    .limit(BATCH)
)
FRAMES_AFTER = _FRAMES.where(bindparam("after") < _NUMBER).order_by(_NUMBER).limit(BATCH)
FRAMES_BEFORE = _FRAMES.where(bindparam("before") > _NUMBER).order_by(_NUMBER.desc()).limit(BATCH)


class DatabaseHotLogs:
    """Implements `kedge.HotLogs`."""

    def __init__(self, db: Database, node: str) -> None:
        """`node` is the name of this one."""
        self._db = db
        self._node = node

    async def append(
        self, key: LogKey, number: int, frame: bytes, *, size: int, time_ms: int, most_bytes: int, begin: bool
    ) -> LogExtent | None:
        """Add a chunk. One transaction, which holds the row of this log and nothing else."""
        chunk = HotFrame(number=number, offset=0, time_ms=time_ms, size=size, frame=frame)
        return await self._db.write_rows(_append, key, chunk, most_bytes, self._node if begin else None)

    async def extent(self, key: LogKey) -> LogExtent | None:
        """How much there is."""
        return await self._db.read(_extent, key)

    async def frames(self, key: LogKey, *, start: int, end: int) -> list[HotFrame]:
        """The first few chunks that overlap `start` to `end`."""
        return await self._db.read(_frames, FRAMES, {**_named(key), "start": start, "end": end})

    async def frames_after(self, key: LogKey, number: int) -> list[HotFrame]:
        """The first few chunks with a larger number."""
        return await self._db.read(_frames, FRAMES_AFTER, {**_named(key), "after": number})

    async def frames_before(self, key: LogKey, number: int) -> list[HotFrame]:
        """The last few chunks with a smaller number."""
        frames = await self._db.read(_frames, FRAMES_BEFORE, {**_named(key), "before": number})
        return frames[::-1]

    async def seal(self, key: LogKey, *, begin: bool) -> LogExtent | None:
        """Take no more chunks."""
        return await self._db.write_rows(_seal, key, self._node if begin else None)

    async def begun_here(self) -> list[LogKey]:
        """The logs that this node began and nobody sealed."""
        return await self._db.read(_keys, col(HotLog.node) == self._node, col(HotLog.sealed).is_(False))

    async def sealed(self) -> list[LogKey]:
        """The logs that wait to be moved."""
        return await self._db.read(_keys, col(HotLog.sealed).is_(True))

    async def delete(self, key: LogKey) -> None:
        """Remove every byte of it."""
        await self._db.write_rows(_delete, key)


def _named(key: LogKey) -> dict[str, Any]:
    return {"this_log": key.log_id, "this_part": key.part}


def _to_extent(row: Any) -> LogExtent:
    start, end = (row.head_end, row.gap_end) if row.gap_end > row.head_end else (0, 0)
    return LogExtent(
        size=row.size, next_number=row.next_number, sealed=row.sealed, gap_start=start, gap_end=end
    )


def _hold(session: Session, key: LogKey, node: str | None) -> Any:
    row = session.execute(HOLD, _named(key)).one_or_none()
    if row is not None or node is None:
        return row
    values = {"log_id": key.log_id, "part": key.part, "node": node, "sealed": False}
    values |= {"size": 0, "next_number": 0, "head_end": 0, "gap_end": 0}
    # Of several nodes that begin it at once, one makes the row.
    upsert(session, HotLog, values, change={"log_id"})
    return session.execute(HOLD, _named(key)).one()


def _append(
    session: Session, key: LogKey, chunk: HotFrame, most_bytes: int, node: str | None
) -> LogExtent | None:
    row = _hold(session, key, node)
    if row is None:
        return None
    if row.sealed:
        raise Conflict("the log is sealed")
    if chunk.number > row.next_number:
        raise LogGap(row.next_number)
    if chunk.number < row.next_number:
        return _to_extent(row)
    values = {"number": chunk.number, "position": row.size, "size": chunk.size, "time_ms": chunk.time_ms}
    session.execute(ADD, {**values, "log_id": key.log_id, "part": key.part, "frame": chunk.frame})
    size, half = row.size + chunk.size, most_bytes // 2
    head_end = row.head_end or (row.size if size > half else 0)
    gap_end = row.gap_end
    if head_end and size - max(head_end, gap_end) > half:
        gap_end = _drop_middle(session, key, head_end, size - half * 7 // 8, last=row.size)
    grown = {"new_size": size, "new_number": chunk.number + 1}
    values = {**_named(key), **grown, "new_head_end": head_end, "new_gap_end": gap_end}
    return _to_extent(session.execute(GROW, values).one())


def _drop_middle(session: Session, key: LogKey, head_end: int, wanted: int, *, last: int) -> int:
    """Drop what lies between the head and offset `wanted`; return where the tail begins now."""
    found = session.execute(KEPT_FROM, {**_named(key), "wanted": wanted}).scalar_one()
    kept_from: int = last if found is None else min(found, last)
    session.execute(DROP, {**_named(key), "from_here": head_end, "to_there": kept_from})
    return kept_from


def _extent(session: Session, key: LogKey) -> LogExtent | None:
    row = session.execute(LOOK, _named(key)).one_or_none()
    return None if row is None else _to_extent(row)


def _frames(session: Session, query: Any, values: dict[str, Any]) -> list[HotFrame]:
    return [HotFrame(**row) for row in session.execute(query, values).mappings()]


def _seal(session: Session, key: LogKey, node: str | None) -> LogExtent | None:
    if _hold(session, key, node) is None:
        return None
    session.execute(SEAL, _named(key))
    return _extent(session, key)


def _keys(session: Session, *conditions: Any) -> list[LogKey]:
    rows = session.execute(select(col(HotLog.log_id), col(HotLog.part)).where(*conditions))
    return sorted(LogKey(log_id=row.log_id, part=row.part) for row in rows)


def _delete(session: Session, key: LogKey) -> None:
    for table in (HotChunk, HotLog):
        session.execute(delete(table).filter_by(log_id=key.log_id, part=key.part))
