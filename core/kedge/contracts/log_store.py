"""The seam behind which logs are kept: of builds, and of workers that run.

A log has parts, each the bytes that one attempt or one while of a worker printed, in order. They arrive as
numbered chunks and are addressed by their offset in the part; an offset means the same while it grows and
years later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

    from kedge.contracts.host import Host

LOG_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


@dataclass(frozen=True, kw_only=True, order=True)
class LogKey:
    """Names a part of a log. Its text may be a file's name if `check` finds nothing."""

    #: of a build, its id
    log_id: str
    #: of a build, the number of the attempt
    part: int

    def __str__(self) -> str:
        """As `read` takes it."""
        return f"{self.log_id}.{self.part}"

    @classmethod
    def read(cls, text: str) -> LogKey | None:
        """What a text names; None for any other text."""
        log_id, _, part = text.rpartition(".")
        if not part.isdecimal():
            return None
        key = cls(log_id=log_id, part=int(part))
        return key if str(key) == text else None

    def check(self) -> None:
        """Raise `InvalidInput` for what is no log. For those who write a `LogStore`."""
        if not LOG_ID.fullmatch(self.log_id) or self.part < 0:
            raise InvalidInput(f"{self.log_id[:80]!r} is no log")


@dataclass(frozen=True, kw_only=True)
class LogChunk:
    """A run of bytes as it arrived."""

    number: int
    #: of its first byte in the whole log
    offset: int
    #: when it was printed, milliseconds since 1970
    time_ms: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class LogExtent:
    """How much of a log there is.

    Bytes `gap_start` to `gap_end` were dropped to keep the log within its cap; both are equal when
    nothing is missing.
    """

    size: int
    next_number: int
    sealed: bool
    gap_start: int = 0
    gap_end: int = 0


@runtime_checkable
class LogStore(Protocol):
    """Keeps logs. Registered as a class by `kedge_register_log_store`.

    Any bytes survive unchanged. No log is ever rewritten: chunks are appended, and on `seal` become
    one blob of concatenated zstd frames with an index beside it. Different logs never wait for each
    other; the calls for one log may come concurrently.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    #: whether every node reads and writes the same logs
    shared: ClassVar[bool]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    async def open(self) -> None:
        """Make ready. Called once, before anything else."""
        ...

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Add the chunk with the next number; when this returns, a killed process loses none of it.

        A number that is already there is ignored (the sender never got the answer); one that skips
        raises `LogGap`. Numbers start at 0. Appending to a sealed log raises `Conflict`. Past the
        cap, the middle of the log is dropped: its head and its tail stay.
        """
        ...

    async def extent(self, key: LogKey) -> LogExtent:
        """Tell how much there is; a log never written is empty and not sealed."""
        ...

    def read(self, key: LogKey, *, start: int = 0, end: int | None = None) -> AsyncIterator[LogChunk]:
        """Yield the chunks that overlap `start` to `end`, as far as there are any now.

        The first and last chunk come whole: the caller trims. A `start` within the gap goes on behind
        it. Reading the tail does not read the head. What is appended or sealed meanwhile does not disturb.
        """
        ...

    async def tail_offset(self, key: LogKey, lines: int) -> int:
        """The offset at which the last `lines` lines begin (0 or the gap's end if there are fewer)."""
        ...

    async def seal(self, key: LogKey) -> LogExtent:
        """Turn the log into one immutable blob and its index. Safe twice and after a kill midway.

        Where blobs are shared between nodes it gets there in its own time: a build's end does not wait.
        """
        ...

    async def unsealed(self) -> list[LogKey]:
        """The logs that were begun here and not sealed; asked for after a start."""
        ...

    async def delete(self, key: LogKey) -> None:
        """Remove every byte of it. A missing log is no error."""
        ...

    async def close(self) -> None:
        """Let go of every resource; unsealed logs stay as they are."""
        ...


@dataclass(frozen=True, kw_only=True)
class HotFrame:
    """A chunk as a log store packed it."""

    number: int
    #: of its first byte in the whole log
    offset: int
    time_ms: int
    #: of its bytes in the log, not of the frame
    size: int
    frame: bytes


class HotLogs(Protocol):
    """Where every node finds the logs that grow, in the database. For log stores, as `Host.hot_logs`.

    A log is here from its first chunk until it was moved to the blob store and deleted. The calls for one
    log may come from several nodes at once.
    """

    async def append(
        self, key: LogKey, number: int, frame: bytes, *, size: int, time_ms: int, most_bytes: int, begin: bool
    ) -> LogExtent | None:
        """Add a chunk of `size` bytes as `LogStore.append` promises; `None` if there is no such log.

        With `begin` it is made then. Past `most_bytes` chunks go from the middle.
        """
        ...

    async def extent(self, key: LogKey) -> LogExtent | None:
        """How much there is, `None` if there is no such log."""
        ...

    async def frames(self, key: LogKey, *, start: int, end: int) -> list[HotFrame]:
        """The first few chunks that overlap `start` to `end`."""
        ...

    async def frames_after(self, key: LogKey, number: int) -> list[HotFrame]:
        """The first few chunks with a larger number, empty ones too."""
        ...

    async def frames_before(self, key: LogKey, number: int) -> list[HotFrame]:
        """The last few chunks with a smaller number, in order."""
        ...

    async def seal(self, key: LogKey, *, begin: bool) -> LogExtent | None:
        """Take no more chunks; `None` if there is no such log, which `begin` makes."""
        ...

    async def begun_here(self) -> list[LogKey]:
        """The logs that this node began and nobody sealed."""
        ...

    async def sealed(self) -> list[LogKey]:
        """The logs that wait for somebody to move them to the blob store."""
        ...

    async def delete(self, key: LogKey) -> None:
        """Remove every byte of it here. A missing log is no error."""
        ...
