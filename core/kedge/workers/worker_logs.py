"""What the instances of a worker print on a node: a log without end, of which the newest part is kept.

It is cut into parts that are sealed when they are full, as the logs of builds are, so that the same cursors
and the same pages show it: the number of a part stands where a build's log has its attempt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from kedge.build_states import Status
from kedge.contracts.log_store import LogKey
from kedge.db.clock import now_ms
from kedge.db.queries import worker_logs as queries
from kedge.errors import Conflict, KedgeError, LogGap, StoreError
from kedge.logs.logs import Logs
from kedge.logs.topics import LogState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from kedge.contracts.log_store import LogStore
    from kedge.contracts.runtime import Instance
    from kedge.db.engine import Database

log = structlog.get_logger("worker-logs")

#: bytes of one part, and how many parts are kept
PART_BYTES, PARTS = 2 * 1024 * 1024, 8
#: seconds for which output is collected before it is stored, and bytes after which it is at once
COLLECT_SECONDS, COLLECT_BYTES = 0.1, 64 * 1024
#: of a line that has not ended and waits for its rest
LONGEST_LINE = 16 * 1024
#: bytes that are kept of what an instance printed last
TAIL_BYTES = 4096
#: pieces that wait to be stored; more of them hold instances up
WAITING = 64
#: seconds in which a node that ends stores what waits
PATIENCE = 5.0


class Tail:
    """The end of what one instance printed."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._pieces: deque[bytes] = deque()
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """It printed this."""
        self._pieces.append(data[-TAIL_BYTES:])
        self._bytes += len(self._pieces[-1])
        while self._bytes - len(self._pieces[0]) >= TAIL_BYTES:
            self._bytes -= len(self._pieces.popleft())

    def __str__(self) -> str:
        """As text."""
        return b"".join(self._pieces)[-TAIL_BYTES:].decode("utf-8", "replace").strip()


@dataclass(eq=False)
class _Open:
    """One worker's log while somebody writes to it."""

    log_id: str
    first: int
    last: int
    #: what is older has been removed for sure
    removed_to: int
    #: whether other nodes can know that there is something
    told: bool = False
    pieces: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(WAITING))
    writer: asyncio.Task[None] | None = None


class WorkerLogs(Logs):
    """The logs of workers, one for each node; this one writes its own. `log_id` names one to readers."""

    def __init__(
        self,
        store: LogStore,
        db: Database,
        node: str,
        *,
        part_bytes: int = PART_BYTES,
        tell_nodes: Callable[[str, str], None] | None = None,
    ) -> None:
        """Keep bytes in `store`; `tell_nodes` if other nodes read there too."""
        super().__init__(store, db, tell_nodes)
        self.node = node
        self._part_bytes = part_bytes
        self._open: dict[str, _Open] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    @property
    def shared(self) -> bool:
        """Whether other nodes' logs can be read too."""
        return self._shared and self.store.shared

    def log_id(self, worker_id: str, node: str | None = None) -> str:
        """The name of a worker's log on a node, this one if none is given."""
        return f"{worker_id}-{sha256((node or self.node).encode()).hexdigest()[:8]}"

    async def nodes(self, worker_id: str) -> list[str]:
        """The nodes on which it has printed something, and this one."""
        return sorted({self.node, *await self._db.read(queries.of_nodes, worker_id)})

    async def first_part(self, log_id: str) -> int:
        """The oldest part that is still there."""
        return (await self._parts(log_id))[0]

    async def state(self, log_id: str) -> LogState:
        """It runs for ever; its latest part grows. Looked up each time, for it may be another node's."""
        return await self._look_up(log_id)

    async def _look_up(self, log_id: str) -> LogState:
        return LogState(part=(await self._parts(log_id))[1], status=Status.RUNNING)

    async def _parts(self, log_id: str) -> tuple[int, int]:
        worker_id = log_id.rpartition("-")[0]
        if log_id == self.log_id(worker_id):
            opened = await self._opened(worker_id)
            return opened.first, opened.last
        others = await self._db.read(queries.of_nodes, worker_id)
        return next(
            (parts for node, parts in others.items() if self.log_id(worker_id, node) == log_id), (1, 1)
        )

    async def pump(self, worker_id: str, instance: Instance, tail: Tail) -> None:
        """Store what an instance prints, until it has ended. Lines of several instances stay whole."""
        rest = b""
        async for data in instance.output():
            tail.add(data)
            whole, end, begun = (rest + data).rpartition(b"\n")
            if end:
                await self._put(worker_id, whole + end)
            rest = begun
            if len(rest) > LONGEST_LINE:
                await self._put(worker_id, rest + b"\n")
                rest = b""
        if rest:
            await self._put(worker_id, rest + b"\n")

    async def _put(self, worker_id: str, data: bytes) -> None:
        """Have it stored soon. What cannot be is lost: whoever prints is not to stand still for it."""
        try:
            opened = await self._opened(worker_id)
        except Exception as error:  # noqa: BLE001  (whatever it is, somebody has to read on)
            _say_lost(worker_id, len(data), error)
        else:
            await opened.pieces.put(data)

    async def note_line(self, worker_id: str, text: str) -> None:
        """Add a line of Kedge's own; left out if too much waits already."""
        opened = await self._opened(worker_id)
        with suppress(asyncio.QueueFull):
            opened.pieces.put_nowait(f"[kedge] {text}\n".encode())

    async def flush(self, worker_id: str) -> None:
        """Return once everything that was printed so far is stored."""
        await (await self._opened(worker_id)).pieces.join()

    async def delete_of(self, worker_id: str) -> None:
        """Remove a worker's logs, on all nodes."""
        if self._tell_others is not None:
            self._tell_others("removed", worker_id)
        await self.drop(worker_id)
        others = await self._db.read(queries.of_nodes, worker_id) if self.shared else {}
        for node, (first, last) in others.items():
            for part in range(_oldest_left(first), last + 1):
                await self.store.delete(LogKey(log_id=self.log_id(worker_id, node), part=part))

    async def drop(self, worker_id: str) -> None:
        """Write a worker's log no more, and remove what this node has written of it."""
        opened = await self._opened(worker_id)
        await self._end(opened)
        self._open.pop(worker_id, None)
        for part in range(opened.removed_to, opened.last + 1):
            await self._delete(LogKey(log_id=opened.log_id, part=part))

    async def close(self) -> None:
        """Store what waits, as far as that is done soon, and write no more."""
        stored = [asyncio.create_task(opened.pieces.join()) for opened in self._open.values()]
        if stored:
            await asyncio.wait(stored, timeout=PATIENCE)
        for opened in self._open.values():
            await self._end(opened)
        await asyncio.gather(*stored)

    async def _end(self, opened: _Open) -> None:
        if opened.writer is not None:
            opened.writer.cancel()
            await asyncio.wait((opened.writer,))
        while not opened.pieces.empty():  # lets go of those who wait to put one in
            opened.pieces.get_nowait()
            opened.pieces.task_done()

    async def _delete(self, key: LogKey) -> None:
        self._unsealed.discard(key)
        await self.store.delete(key)

    def _is_over(self, session: Session, key: LogKey) -> bool:
        worker_id = key.log_id.rpartition("-")[0]
        own = key.log_id == self.log_id(worker_id)
        return own and key.part < queries.parts(session, worker_id, self.node)[1]

    async def _opened(self, worker_id: str) -> _Open:
        opened = self._open.get(worker_id)
        if opened is not None:
            return opened
        async with self._opening.setdefault(worker_id, asyncio.Lock()):
            if worker_id not in self._open:
                first, last = await self._db.read(queries.parts, worker_id, self.node)
                opened = _Open(self.log_id(worker_id), first, last, removed_to=_oldest_left(first))
                opened.writer = asyncio.create_task(self._write(worker_id, opened))
                self._open[worker_id] = opened
        self._opening.pop(worker_id, None)
        return self._open[worker_id]

    async def _write(self, worker_id: str, opened: _Open) -> None:
        while True:
            pieces = [await opened.pieces.get()]
            try:
                await _collect(opened.pieces, pieces)
                await self._store(worker_id, opened, b"".join(pieces))
            except Exception as error:  # noqa: BLE001  (nobody else would ever write again)
                _say_lost(worker_id, sum(map(len, pieces)), error)
            finally:
                for _ in pieces:
                    opened.pieces.task_done()

    async def _store(self, worker_id: str, opened: _Open, data: bytes) -> None:
        if not opened.told:
            await self._db.write(queries.set_parts, worker_id, self.node, opened.first, opened.last)
            opened.told = True
        key = LogKey(log_id=opened.log_id, part=opened.last)
        extent = await self.store.extent(key)
        if extent.sealed or extent.size >= self._part_bytes:
            key = await self._turn_over(worker_id, opened)
            extent = await self.store.extent(key)
        try:
            await self.append(key, extent.next_number, data, time_ms=now_ms())
        except (LogGap, Conflict):
            # an earlier node left it in another state than was thought: a new part is always right
            key = await self._turn_over(worker_id, opened)
            await self.append(key, 0, data, time_ms=now_ms())

    async def _turn_over(self, worker_id: str, opened: _Open) -> LogKey:
        """Seal the part that grows, begin another, and drop the oldest if there are too many."""
        full = LogKey(log_id=opened.log_id, part=opened.last)
        oldest = max(opened.first, opened.last + 2 - PARTS)
        await self._db.write(queries.set_parts, worker_id, self.node, oldest, opened.last + 1)
        opened.first = oldest
        opened.last += 1
        await self.seal(full)
        self.publish(opened.log_id, LogState(part=opened.last, status=Status.RUNNING))
        await self._remove_old(opened)
        return LogKey(log_id=opened.log_id, part=opened.last)

    async def _remove_old(self, opened: _Open) -> None:
        """Remove what nobody reads any more; what the store cannot remove now goes with a later part."""
        while opened.removed_to < opened.first:
            try:
                await self._delete(LogKey(log_id=opened.log_id, part=opened.removed_to))
            except (StoreError, OSError) as error:
                log.warning("an old part of a log is still there", log=opened.log_id, reason=str(error))
                return
            opened.removed_to += 1


def _oldest_left(first: int) -> int:
    """The oldest part before the first that a node may have left because it could not remove it."""
    return max(1, first - PARTS)


async def _collect(waiting: asyncio.Queue[bytes], pieces: list[bytes]) -> None:
    """Add to `pieces` what comes soon, up to a size."""
    size = len(pieces[0])
    with suppress(TimeoutError):
        async with asyncio.timeout(COLLECT_SECONDS):
            while size < COLLECT_BYTES:
                pieces.append(await waiting.get())
                size += len(pieces[-1])


def _say_lost(worker_id: str, size: int, error: Exception) -> None:
    expected = isinstance(error, (KedgeError, OSError))
    log.warning(
        "output of a worker is lost",
        worker=worker_id,
        bytes=size,
        reason=str(error) if expected else type(error).__name__,
        exc_info=None if expected else error,
    )
