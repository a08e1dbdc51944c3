"""A build's log: written by its runner, read by anybody, live and years later by the same cursor."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlmodel import col, select

from kedge.builds.topics import BuildState, Frame, Topics, to_frame
from kedge.contracts.log_store import LogChunk, LogKey
from kedge.db.clock import now_ms
from kedge.db.queries import lifecycle
from kedge.db.tables import Attempt
from kedge.errors import Conflict, InvalidInput, LogGap, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlmodel import Session

    from kedge.builds.topics import Topic
    from kedge.contracts.log_store import LogExtent, LogStore
    from kedge.db.engine import Database
    from kedge.registry import Registry

log = structlog.get_logger("logs")

#: a follower looks by itself at least this often, should a wake-up get lost
SWEEP_SECONDS = 1.0
#: silence after which a stream sends something to show that it lives
KEEP_ALIVE_SECONDS = 15.0
#: an attempt and a byte, neither larger than a database can be asked for
CURSOR = re.compile(r"([0-9]{1,9})\.([0-9]{1,18})")
#: between tries to seal logs whose sealing failed
RESEAL_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, order=True)
class Cursor:
    """A place in a build's log: which attempt, which byte."""

    attempt: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read `attempt.offset`. Raises `InvalidInput`."""
        match = CURSOR.fullmatch(text)
        if match is None:
            raise InvalidInput("the cursor is not one that Kedge gave out; leave it away to start anew")
        return cls(attempt=int(match[1]), offset=int(match[2]))

    def __str__(self) -> str:
        """As the API shows it."""
        return f"{self.attempt}.{self.offset}"


class BuildLogs:
    """The logs of all builds, over the chosen `LogStore`."""

    def __init__(
        self,
        store: LogStore,
        db: Database,
        registry: Registry,
        tell_nodes: Callable[[str, str], None] | None = None,
    ) -> None:
        """Keep bytes in `store`, look up builds in `db`; `tell_nodes` if other nodes write the same logs."""
        self._tell_others = tell_nodes
        self._shared = db.shared and tell_nodes is not None
        self.store = store
        self.topics = Topics()
        self._db = db
        self._registry = registry
        #: logs whose sealing failed
        self._unsealed: set[LogKey] = set()

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Store a chunk, then show it to followers. Raises as `LogStore.append` does."""
        extent = await self.store.append(key, number, data, time_ms=time_ms)
        if extent.next_number != number + 1 or not data:
            return extent
        offset = extent.size - len(data)
        self.topics.get(key.build_uuid).add(Frame(key.attempt, offset, time_ms, data))
        self._tell_nodes(key.build_uuid)
        await self._tell(key, LogChunk(number=number, offset=offset, time_ms=time_ms, data=data))
        return extent

    async def _tell(self, key: LogKey, chunk: LogChunk) -> None:
        if self._registry.listens("kedge_build_log"):
            await self._registry.build_log(key, chunk)

    async def note(self, key: LogKey, text: str) -> None:
        """Add a line of Kedge's own at the end; left out if the log is sealed already, or cannot grow."""
        try:
            await self._note(key, text.encode() + b"\n")
        except (StoreError, OSError) as error:
            log.warning("a line is missing in a log", build=key.build_uuid, line=text, reason=str(error))

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
        """Make the log final; if that fails, later: how a build ended does not depend on it."""
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

    def _is_over(self, session: Session, key: LogKey) -> bool:
        """Whether it is one of these logs and nothing will be added to it."""
        ended = select(Attempt.ended_on).where(
            Attempt.build_uuid == key.build_uuid,
            Attempt.number == key.attempt,
            col(Attempt.ended_on).is_not(None),
        )
        return session.exec(ended).first() is not None

    def publish(self, build_uuid: str, state: BuildState) -> None:
        """Tell followers how the build stands."""
        self.topics.get(build_uuid).show(state)
        self._tell_nodes(build_uuid)

    def _tell_nodes(self, build_uuid: str) -> None:
        if self._tell_others is not None:
            self._tell_others("build", build_uuid)

    def look_again(self, build_uuid: str) -> None:
        """Another node has added to the log, or knows that the build stands differently."""
        topic = self.topics.find(build_uuid)
        if topic is not None:
            topic.forget()
            topic.notify()

    def state_at_hand(self, build_uuid: str) -> BuildState | None:
        """How the build stands, if this node knows it without asking."""
        topic = self.topics.find(build_uuid)
        if topic is None or (self._shared and time.monotonic() - topic.shown_at > SWEEP_SECONDS):
            return None
        return topic.state

    async def state(self, build_uuid: str) -> BuildState:
        """How the build stands. Raises `NotFound`."""
        state = self.state_at_hand(build_uuid)
        return await self._db.read(_state, build_uuid) if state is None else state

    async def wait_for_stop(self, build_uuid: str) -> None:
        """Return once the build has stopped. Raises `NotFound`."""
        with self.topics.watching(build_uuid) as topic:
            while True:
                changed = topic.changed()
                if (await self.state(build_uuid)).stopped:
                    return
                if await _elapsed(changed):
                    topic.state = None

    async def tail(self, build_uuid: str, lines: int) -> Cursor:
        """The cursor from which the last `lines` lines of the latest attempt follow."""
        state = await self.state(build_uuid)
        key = LogKey(build_uuid=build_uuid, attempt=state.attempt)
        return Cursor(attempt=state.attempt, offset=await self.store.tail_offset(key, lines))

    async def follow(
        self, build_uuid: str, cursor: Cursor | None = None
    ) -> AsyncIterator[Frame | BuildState | None]:
        """Yield the log from `cursor` on as frames, a state whenever it changes, `None` to show life.

        Without a cursor it starts at the beginning of the latest attempt. A frame from the middle of a
        dropped part starts behind the gap. Ends after the state in which the build is stopped. The pace is
        the reader's: a slow one reads from the store what is no longer in memory.
        """
        with self.topics.watching(build_uuid) as topic:
            async for news in self._follow(build_uuid, topic, cursor):
                yield news

    async def _follow(
        self, build_uuid: str, topic: Topic, cursor: Cursor | None
    ) -> AsyncIterator[Frame | BuildState | None]:
        shown = await self.state(build_uuid)
        yield shown
        at = cursor or Cursor(attempt=shown.attempt, offset=0)
        quiet = 0.0
        while True:
            changed = topic.changed()
            # The state is read before the frames: once it says stopped, every frame is there to be read.
            state = await self.state(build_uuid)
            reached = at.offset
            async for frame in self._frames_from(build_uuid, at):
                yield frame
                reached = frame.end
            if reached != at.offset:
                at, quiet = Cursor(attempt=at.attempt, offset=reached), 0.0
                continue
            if at.attempt < state.attempt:
                at = Cursor(attempt=at.attempt + 1, offset=0)
                continue
            if state != shown:
                shown = state
                yield state
            if state.stopped:
                return
            if await _elapsed(changed):
                topic.state = None
                if self._shared:
                    topic.forget()
                quiet += SWEEP_SECONDS
                if quiet >= KEEP_ALIVE_SECONDS:
                    quiet = 0.0
                    yield None

    async def _frames_from(self, build_uuid: str, at: Cursor) -> AsyncIterator[Frame]:
        """What there is now from a cursor on: from memory if it can be, else from the store."""
        topic = self.topics.get(build_uuid)
        frame = topic.frame_at(at.attempt, at.offset)
        if frame is not None:
            yield frame
            return
        if topic.knows_end(at.attempt, at.offset):
            return
        key = LogKey(build_uuid=build_uuid, attempt=at.attempt)
        try:
            async for chunk in self.store.read(key, start=at.offset):
                yield to_frame(at.attempt, chunk).since(at.offset)
                if topic.frame_at(at.attempt, chunk.offset + len(chunk.data)) is not None:
                    return
        except StoreUnavailable:
            # A log that has not begun may be asked for where sealed ones lie: a follower can wait for it.
            state = self.state_at_hand(build_uuid)
            if state is None or state.stopped:
                raise


def _named(key: LogKey, error: Exception) -> dict[str, Any]:
    return {"build": key.build_uuid, "attempt": key.attempt, "reason": str(error)}


def _state(session: Session, build_uuid: str) -> BuildState:
    build, _ = lifecycle.current(session, build_uuid)
    return BuildState(attempt=build.attempt, status=build.status, outcome=build.outcome)


async def _elapsed(changed: asyncio.Future[None]) -> bool:
    """Wait for a change; True if none came in time."""
    done, _ = await asyncio.wait((changed,), timeout=SWEEP_SECONDS)
    return not done
