"""Logs of whatever kind: appended to, sealed, and followed by any number of readers."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import structlog

from kedge.contracts.log_store import LogChunk, LogKey
from kedge.db.clock import now_ms
from kedge.errors import Conflict, LogGap, StoreError, StoreUnavailable
from kedge.logs.cursor import Cursor
from kedge.logs.topics import Frame, LogState, Topics, to_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlmodel import Session

    from kedge.contracts.log_store import LogExtent, LogStore
    from kedge.db.engine import Database
    from kedge.logs.topics import Topic

log = structlog.get_logger("logs")

#: a follower looks by itself at least this often, should a wake-up get lost
SWEEP_SECONDS = 1.0
#: silence after which a stream sends something to show that it lives
KEEP_ALIVE_SECONDS = 15.0
#: between tries to seal logs whose sealing failed
RESEAL_SECONDS = 30.0


class Logs(ABC):
    """The logs of one kind, over the chosen `LogStore`. Each has parts, written one after the other.

    All methods may be called at once.
    """

    def __init__(
        self, store: LogStore, db: Database, tell_nodes: Callable[[str, str], None] | None = None
    ) -> None:
        """Keep bytes in `store`, look up in `db` who writes; `tell_nodes` if others write the same logs."""
        self._tell_others = tell_nodes
        self._shared = db.shared and tell_nodes is not None
        self.store = store
        self.topics = Topics()
        self._db = db
        #: logs whose sealing failed
        self._unsealed: set[LogKey] = set()

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Store a chunk, then show it to followers. Raises as `LogStore.append` does."""
        extent = await self.store.append(key, number, data, time_ms=time_ms)
        if extent.next_number != number + 1 or not data:
            return extent
        offset = extent.size - len(data)
        self.topics.get(key.log_id).add(Frame(key.part, offset, time_ms, data))
        self._tell_nodes(key.log_id)
        await self._tell_listeners(key, LogChunk(number=number, offset=offset, time_ms=time_ms, data=data))
        return extent

    @abstractmethod
    async def _look_up(self, log_id: str) -> LogState:
        """How what writes a log stands. Raises `NotFound`."""

    @abstractmethod
    def _is_over(self, session: Session, key: LogKey) -> bool:
        """Whether it is one of these logs, and nothing will be added to this part of it."""

    async def _tell_listeners(self, key: LogKey, chunk: LogChunk) -> None:  # noqa: B027  (not every kind has listeners)
        """Tell whoever listens that a chunk was stored."""

    async def note(self, key: LogKey, text: str) -> None:
        """Add a line of Kedge's own at the end; left out if the log is sealed already, or cannot grow."""
        try:
            await self._note(key, text.encode() + b"\n")
        except (StoreError, OSError) as error:
            log.warning("a line is missing in a log", log=key.log_id, line=text, reason=str(error))

    async def _note(self, key: LogKey, line: bytes) -> None:
        extent = await self.store.extent(key)
        while not extent.sealed:
            try:
                await self.append(key, extent.next_number, line, time_ms=now_ms())
            except LogGap:
                extent = await self.store.extent(key)
            except Conflict:
                return
            else:
                return

    async def require(self, key: LogKey, chunks: int) -> None:
        """Raise `LogGap` unless the first `chunks` chunks are stored."""
        if not chunks:
            return
        extent = await self.store.extent(key)
        if extent.next_number < chunks:
            raise LogGap(extent.next_number)

    async def seal(self, key: LogKey) -> None:
        """Make the log final; if that fails, later: nothing else depends on it."""
        try:
            await self.store.seal(key)
        except (StoreError, OSError) as error:
            log.warning("a log could not be sealed; it can be read, and is tried again", **_named(key, error))
            self._unsealed.add(key)
        else:
            self._unsealed.discard(key)

    async def seal_the_rest(self) -> None:
        """Seal what an earlier process left, and then, for ever, what could not be sealed."""
        for key in await self.store.unsealed():
            if await self._db.read(self._is_over, key):
                await self.seal(key)
        while True:
            await asyncio.sleep(RESEAL_SECONDS)
            for key in sorted(self._unsealed):
                await self.seal(key)

    def publish(self, log_id: str, state: LogState) -> None:
        """Tell followers how what writes a log stands."""
        self.topics.get(log_id).show(state)
        self._tell_nodes(log_id)

    def _tell_nodes(self, log_id: str) -> None:
        if self._tell_others is not None:
            self._tell_others("build", log_id)

    def look_again(self, log_id: str) -> None:
        """Another node has added to the log, or knows that what writes it stands differently."""
        topic = self.topics.find(log_id)
        if topic is not None:
            topic.forget()
            topic.notify()

    def state_at_hand(self, log_id: str) -> LogState | None:
        """How what writes a log stands, if this node knows it without asking."""
        topic = self.topics.find(log_id)
        if topic is None or (self._shared and time.monotonic() - topic.shown_at > SWEEP_SECONDS):
            return None
        return topic.state

    async def state(self, log_id: str) -> LogState:
        """How what writes a log stands. Raises `NotFound`."""
        state = self.state_at_hand(log_id)
        return await self._look_up(log_id) if state is None else state

    async def tail(self, log_id: str, lines: int) -> Cursor:
        """The cursor from which the last `lines` lines of the latest part follow."""
        state = await self.state(log_id)
        key = LogKey(log_id=log_id, part=state.part)
        return Cursor(part=state.part, offset=await self.store.tail_offset(key, lines))

    async def follow(
        self, log_id: str, cursor: Cursor | None = None
    ) -> AsyncIterator[Frame | LogState | None]:
        """Yield the log from `cursor` on as frames, a state whenever it changes, `None` to show life.

        Without a cursor it starts at the beginning of the latest part. A frame from the middle of a
        dropped part starts behind the gap. Ends after a state that is stopped. The pace is
        the reader's: a slow one reads from the store what is no longer in memory.
        """
        with self.topics.watching(log_id) as topic:
            async for news in self._follow(log_id, topic, cursor):
                yield news

    async def _follow(
        self, log_id: str, topic: Topic, cursor: Cursor | None
    ) -> AsyncIterator[Frame | LogState | None]:
        shown = await self.state(log_id)
        yield shown
        at = cursor or Cursor(part=shown.part, offset=0)
        quiet = 0.0
        while True:
            changed = topic.changed()
            # The state is read before the frames: once it says stopped, every frame is there to be read.
            state = await self.state(log_id)
            reached = at.offset
            async for frame in self._frames_from(log_id, at):
                yield frame
                reached = frame.end
            if reached != at.offset:
                at, quiet = Cursor(part=at.part, offset=reached), 0.0
                continue
            if at.part < state.part:
                at = Cursor(part=at.part + 1, offset=0)
                continue
            if state != shown:
                shown = state
                yield state
            if state.stopped:
                return
            if await waited_in_vain(changed):
                topic.state = None
                if self._shared:
                    topic.forget()
                quiet += SWEEP_SECONDS
                if quiet >= KEEP_ALIVE_SECONDS:
                    quiet = 0.0
                    yield None

    async def _frames_from(self, log_id: str, at: Cursor) -> AsyncIterator[Frame]:
        """What there is now from a cursor on: from memory if it can be, else from the store."""
        topic = self.topics.get(log_id)
        frame = topic.frame_at(at.part, at.offset)
        if frame is not None:
            yield frame
            return
        if topic.knows_end(at.part, at.offset):
            return
        key = LogKey(log_id=log_id, part=at.part)
        try:
            async for chunk in self.store.read(key, start=at.offset):
                yield to_frame(at.part, chunk).since(at.offset)
                if topic.frame_at(at.part, chunk.offset + len(chunk.data)) is not None:
                    return
        except StoreUnavailable:
            # A log that has not begun may be asked for where sealed ones lie: a follower can wait for it.
            state = self.state_at_hand(log_id)
            if state is None or state.stopped:
                raise


def _named(key: LogKey, error: Exception) -> dict[str, Any]:
    return {"log": key.log_id, "part": key.part, "reason": str(error)}


async def waited_in_vain(changed: asyncio.Future[None]) -> bool:
    """Wait for a change; True if none came in time."""
    done, _ = await asyncio.wait((changed,), timeout=SWEEP_SECONDS)
    return not done
