"""Who watches which log on this node, and the newest of it, kept once for all of them."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import orjson

from kedge.build_states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.contracts.log_store import LogChunk

#: kept in memory of each log that is watched or written to
RECENT_BYTES = 1024 * 1024
#: logs whose newest bytes are kept
MOST_TOPICS = 256


@dataclass(frozen=True, kw_only=True)
class LogState:
    """What a follower has to know of what writes a log: its latest part, and how it stands."""

    part: int
    status: str
    outcome: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether nothing more will come."""
        return self.status == Status.STOPPED


@dataclass(frozen=True)
class Frame:
    """A chunk of log on its way to followers; encoded once however many there are."""

    part: int
    offset: int
    time_ms: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + len(self.data)

    @cached_property
    def event(self) -> bytes:
        """It as a server-sent event whose id is the cursor behind it."""
        body = orjson.dumps({"time": self.time_ms, "text": self.data.decode("utf-8", "replace")})
        return b"event: log\nid: %d.%d\ndata: %b\n\n" % (self.part, self.end, body)

    def since(self, offset: int) -> Frame:
        """The part of it from `offset` on."""
        if offset <= self.offset:
            return self
        return Frame(self.part, offset, self.time_ms, self.data[offset - self.offset :])


def to_frame(part: int, chunk: LogChunk) -> Frame:
    """A stored chunk as a frame."""
    return Frame(part, chunk.offset, chunk.time_ms, chunk.data)


class Topic:
    """One log's newest frames and state. `changed()` lets followers wait."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.state: LogState | None = None
        self.shown_at = 0.0
        self.watchers = 0
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._waiting: asyncio.Future[None] | None = None

    def add(self, frame: Frame) -> None:
        """A chunk was stored."""
        if self._frames and (self._frames[-1].part, self._frames[-1].end) != (frame.part, frame.offset):
            self._clear()
        self._frames.append(frame)
        self._bytes += len(frame.data)
        while self._bytes > RECENT_BYTES and len(self._frames) > 1:
            self._bytes -= len(self._frames.popleft().data)
        self.notify()

    def show(self, state: LogState) -> None:
        """What writes it stands differently. Once stopped, its log is read from the store alone."""
        self.state = state
        self.shown_at = time.monotonic()
        if state.stopped:
            self._clear()
        self.notify()

    def forget(self) -> None:
        """Another node may know better: the state and the log are to be looked up."""
        self.state = None
        self._clear()

    def _clear(self) -> None:
        self._frames.clear()
        self._bytes = 0

    def frame_at(self, part: int, offset: int) -> Frame | None:
        """The frame that holds byte `offset` of a part, if it is still in memory."""
        frames = self._frames
        if not frames or frames[0].part != part or not frames[0].offset <= offset < frames[-1].end:
            return None
        return frames[bisect_right(frames, offset, key=lambda frame: frame.offset) - 1].since(offset)

    def knows_end(self, part: int, offset: int) -> bool:
        """Whether `offset` is where this part ends now, as far as memory tells."""
        return bool(self._frames) and (self._frames[-1].part, self._frames[-1].end) == (part, offset)

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        self._waiting = None

    def changed(self) -> asyncio.Future[None]:
        """A future that is done at the next change. Take it before looking, await it after."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting


class Topics:
    """The topics of a node, the least recently used dropped first unless somebody watches."""

    def __init__(self) -> None:
        """No topics yet."""
        self._topics: OrderedDict[str, Topic] = OrderedDict()

    def get(self, log_id: str) -> Topic:
        """The topic of a log, made if need be."""
        topic = self._topics.get(log_id)
        if topic is None:
            self._make_room()
            topic = self._topics[log_id] = Topic()
        self._topics.move_to_end(log_id)
        return topic

    def find(self, log_id: str) -> Topic | None:
        """The topic of a log if there is one."""
        return self._topics.get(log_id)

    @contextmanager
    def watching(self, log_id: str) -> Iterator[Topic]:
        """The topic of a log, which stays as long as this lasts."""
        topic = self.get(log_id)
        topic.watchers += 1
        try:
            yield topic
        finally:
            topic.watchers -= 1

    def _make_room(self) -> None:
        if len(self._topics) < MOST_TOPICS:
            return
        for log_id, topic in self._topics.items():
            if not topic.watchers:
                del self._topics[log_id]
                return
