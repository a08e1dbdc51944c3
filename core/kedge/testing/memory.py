"""Stores in memory, for tests of everything that keeps blobs or logs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from kedge.contracts.blobs import BlobInfo, check_blob_key
from kedge.contracts.log_store import LogChunk, LogExtent, LogKey
from kedge.errors import BlobNotFound, Conflict, LogGap

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from datetime import timedelta

    from kedge.contracts.blobs import PresignedRequest
    from kedge.contracts.host import Host
    from kedge.contracts.signed_parts import SignedParts

PART_BYTES = 1024 * 1024


class MemorySettings(BaseModel):
    """There is nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failing:
    """What a test can tell to fail."""

    def __init__(self) -> None:
        """Fail at nothing yet."""
        #: errors that the next calls raise, in order
        self.failures: list[Exception] = []

    def _fail_if_told(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@dataclass(kw_only=True)
class _Blob:
    info: BlobInfo
    data: bytes


class MemoryBlobs(Failing):
    """A `kedge.BlobStore` over a dictionary. Another instance with the same `shelf` is a reopened store."""

    name: ClassVar[str] = "memory"
    Settings: ClassVar[type[BaseModel]] = MemorySettings
    shared: bool = False
    excludes: bool = True

    def __init__(
        self, settings: Any = None, host: Host | None = None, *, shelf: dict[str, _Blob] | None = None
    ) -> None:
        """Keep blobs on `shelf` or a new one."""
        super().__init__()
        self.shelf = {} if shelf is None else shelf

    async def open(self) -> None:
        """Nothing to make ready."""

    async def put(
        self, key: str, data: bytes | Path | AsyncIterable[bytes], *, if_absent: bool = False
    ) -> BlobInfo:
        """Store `data`, once it is there whole."""
        self._check(key)
        if isinstance(data, Path):
            whole = data.read_bytes()  # noqa: ASYNC240  (a fake for small files)
        elif isinstance(data, bytes):
            whole = data
        else:
            whole = b"".join([part async for part in data])
        if if_absent and key in self.shelf:
            raise Conflict(f"the blob {key} is there already")
        info = BlobInfo(key=key, size=len(whole), modified_on=datetime.now(UTC))
        self.shelf[key] = _Blob(info=info, data=whole)
        return info

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a slice, part by part."""
        data = self._find(key).data[start:end]
        for position in range(0, len(data), PART_BYTES):
            yield data[position : position + PART_BYTES]

    async def stat(self, key: str) -> BlobInfo:
        """Describe a blob."""
        return self._find(key).info

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Yield what is there now, ordered by key."""
        self._fail_if_told()
        for key, blob in sorted(self.shelf.items()):
            if key.startswith(prefix):
                yield blob.info

    async def delete(self, key: str) -> None:
        """Remove a blob."""
        self._check(key)
        self.shelf.pop(key, None)

    async def presign(
        self,
        key: str,
        method: Literal["GET", "PUT"],
        *,
        expires: timedelta,
        size: int | None = None,
        md5: bytes | None = None,
    ) -> PresignedRequest | None:
        """Memory has no URL."""
        self._check(key)
        return None

    @property
    def signed_parts(self) -> SignedParts | None:
        """Memory has no URL."""
        return None

    async def close(self) -> None:
        """Nothing is held open."""

    def _check(self, key: str) -> None:
        check_blob_key(key)
        self._fail_if_told()

    def _find(self, key: str) -> _Blob:
        self._check(key)
        if key not in self.shelf:
            raise BlobNotFound(f"there is no blob {key}")
        return self.shelf[key]


@dataclass(kw_only=True)
class _Log:
    half: int
    head: list[LogChunk] = field(default_factory=list)
    tail: deque[LogChunk] = field(default_factory=deque)
    head_size: int = 0
    tail_size: int = 0
    size: int = 0
    next_number: int = 0
    sealed: bool = False

    def add(self, data: bytes, time_ms: int) -> None:
        chunk = LogChunk(number=self.next_number, offset=self.size, time_ms=time_ms, data=data)
        self.size += len(data)
        self.next_number += 1
        if not self.tail and (not self.head_size or self.head_size + len(data) <= self.half):
            self.head.append(chunk)
            self.head_size += len(data)
            return
        self.tail.append(chunk)
        self.tail_size += len(data)
        while self.tail_size > self.half and len(self.tail) > 1:
            self.tail_size -= len(self.tail.popleft().data)

    def extent(self) -> LogExtent:
        start, end = self.head_size, self.size - self.tail_size
        if start == end:
            start = end = 0
        return LogExtent(
            size=self.size, next_number=self.next_number, sealed=self.sealed, gap_start=start, gap_end=end
        )


class MemoryLogs(Failing):
    """A `kedge.LogStore` over a dictionary. Another instance with the same `shelf` is a reopened store."""

    name: ClassVar[str] = "memory"
    Settings: ClassVar[type[BaseModel]] = MemorySettings
    shared: ClassVar[bool] = False

    def __init__(
        self,
        settings: Any = None,
        host: Host | None = None,
        *,
        max_bytes: int = 256 * 1024**2,
        shelf: dict[LogKey, _Log] | None = None,
    ) -> None:
        """Keep logs on `shelf` or a new one, each within `max_bytes`."""
        super().__init__()
        self._half = max_bytes // 2
        self.shelf = {} if shelf is None else shelf

    async def open(self) -> None:
        """Nothing to make ready."""

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Add the chunk with the next number."""
        self._check(key)
        log = self.shelf.setdefault(key, _Log(half=self._half))
        if log.sealed:
            raise Conflict("the log is sealed")
        if number > log.next_number:
            raise LogGap(log.next_number)
        if number == log.next_number:
            log.add(data, time_ms)
        return log.extent()

    async def extent(self, key: LogKey) -> LogExtent:
        """Tell how much there is."""
        return self._find(key).extent()

    async def read(self, key: LogKey, *, start: int = 0, end: int | None = None) -> AsyncIterator[LogChunk]:
        """Yield the chunks that overlap `start` to `end`."""
        log = self._find(key)
        stop = log.size if end is None else end
        for chunk in [*log.head, *log.tail]:
            if chunk.offset < stop and chunk.offset + len(chunk.data) > start:
                yield chunk

    async def tail_offset(self, key: LogKey, lines: int) -> int:
        """The offset at which the last `lines` lines begin."""
        log = self._find(key)
        if lines <= 0:
            return log.size
        lowest = log.extent().gap_end
        data = b"".join(chunk.data for chunk in [*log.head, *log.tail] if chunk.offset >= lowest)
        position = len(data) - data.endswith(b"\n")
        for _ in range(lines):
            position = data.rfind(b"\n", 0, position)
            if position < 0:
                return lowest
        return lowest + position + 1

    async def seal(self, key: LogKey) -> LogExtent:
        """Take no more chunks."""
        self._check(key)
        log = self.shelf.setdefault(key, _Log(half=self._half))
        log.sealed = True
        return log.extent()

    async def unsealed(self) -> list[LogKey]:
        """The logs that were not sealed."""
        return [key for key, log in self.shelf.items() if not log.sealed]

    async def delete(self, key: LogKey) -> None:
        """Forget a log."""
        self._check(key)
        self.shelf.pop(key, None)

    async def close(self) -> None:
        """Nothing is held open."""

    def _check(self, key: LogKey) -> None:
        key.check()
        self._fail_if_told()

    def _find(self, key: LogKey) -> _Log:
        self._check(key)
        return self.shelf.get(key) or _Log(half=self._half)
