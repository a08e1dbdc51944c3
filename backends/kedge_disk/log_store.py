"""Build logs as files: hot while a build runs, sealed when it has stopped."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from kedge import Conflict, InvalidInput, LogExtent, Size
from kedge_disk.hot import HotLog
from kedge_disk.reader import Reader
from kedge_disk.sealed import index_path, read_extent, seal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge import Host, LogChunk, LogKey

BUILD_UUID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
#: logs whose files stay open between appends
MOST_OPEN = 64
EMPTY = LogExtent(size=0, next_number=0, sealed=False)


class DiskLogSettings(BaseModel):
    """`[logs.disk]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: Size = Field(
        default=256 * 1024**2,
        ge=1024**2,
        description="Past this much text the middle of a log is dropped; head and tail stay.",
    )


class DiskLogs:
    """Hot logs below `logs/hot`, sealed ones below `logs/sealed`, in the data dir."""

    name: ClassVar[str] = "disk"
    Settings: ClassVar[type[BaseModel]] = DiskLogSettings

    def __init__(self, settings: DiskLogSettings, host: Host) -> None:
        """Keep the folders' names."""
        self._max_bytes = settings.max_bytes
        self._root = host.data_dir / "logs"
        self._open_logs: OrderedDict[LogKey, HotLog] = OrderedDict()
        self._locks: dict[LogKey, asyncio.Lock] = {}

    async def open(self) -> None:
        """Make the folders."""
        await asyncio.to_thread((self._root / "hot").mkdir, parents=True, exist_ok=True)

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Add the chunk with the next number."""
        async with self._lock(key):
            return await asyncio.to_thread(self._append, key, number, data, time_ms)

    def _append(self, key: LogKey, number: int, data: bytes, time_ms: int) -> LogExtent:
        folder, sealed = self._paths(key)
        if key not in self._open_logs:
            if index_path(sealed).exists():
                raise Conflict("the log is sealed")
            self._close_idle()
        return self._hot(key, folder).append(number, data, time_ms)

    async def extent(self, key: LogKey) -> LogExtent:
        """Tell how much there is."""
        log = self._open_logs.get(key)
        if log is not None:
            return log.extent()
        async with self._lock(key):
            return await asyncio.to_thread(self._extent, key)

    def _extent(self, key: LogKey) -> LogExtent:
        folder, sealed = self._paths(key)
        try:
            descriptor = os.open(index_path(sealed), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._hot(key, folder).extent() if folder.exists() else EMPTY
        try:
            return read_extent(descriptor)[0]
        finally:
            os.close(descriptor)

    async def read(self, key: LogKey, *, start: int = 0, end: int | None = None) -> AsyncIterator[LogChunk]:
        """Yield the chunks that overlap `start` to `end`, as far as there are any now."""
        end = (await self.extent(key)).size if end is None else end
        paths = self._paths(key)
        position = start
        while position < end:
            reader = await asyncio.to_thread(_open_reader, *paths)
            if reader is None:
                return
            try:
                while chunks := await asyncio.to_thread(reader.read, position, end):
                    for chunk in chunks:
                        yield chunk
                    position = chunks[-1].offset + len(chunks[-1].data)
            except FileNotFoundError:
                continue  # sealed between two reads: go on in the sealed log
            finally:
                reader.close()
            return

    async def tail_offset(self, key: LogKey, lines: int) -> int:
        """The offset at which the last `lines` lines begin."""
        extent = await self.extent(key)
        if lines <= 0:
            return extent.size
        reader = await asyncio.to_thread(_open_reader, *self._paths(key))
        if reader is None:
            return 0
        try:
            return await asyncio.to_thread(_walk_back, reader, lines, extent.gap_end)
        finally:
            reader.close()

    async def seal(self, key: LogKey) -> LogExtent:
        """Turn the log into one immutable file and its index."""
        async with self._lock(key):
            extent = await asyncio.to_thread(self._seal, key)
        self._locks.pop(key, None)
        return extent

    def _seal(self, key: LogKey) -> LogExtent:
        folder, sealed = self._paths(key)
        if not index_path(sealed).exists():
            log = self._hot(key, folder)
            extent = seal(log, sealed)
        else:
            extent = self._extent(key)
        log_left = self._open_logs.pop(key, None)
        if log_left is not None:
            log_left.close()
        shutil.rmtree(folder, ignore_errors=True)
        return extent

    async def delete(self, key: LogKey) -> None:
        """Remove every byte of it."""
        async with self._lock(key):
            await asyncio.to_thread(self._delete, key)
        self._locks.pop(key, None)

    def _delete(self, key: LogKey) -> None:
        folder, sealed = self._paths(key)
        log = self._open_logs.pop(key, None)
        if log is not None:
            log.close()
        shutil.rmtree(folder, ignore_errors=True)
        index_path(sealed).unlink(missing_ok=True)
        sealed.unlink(missing_ok=True)

    async def close(self) -> None:
        """Let go of every file; unsealed logs stay as they are."""
        for log in self._open_logs.values():
            log.close()
        self._open_logs.clear()

    def _hot(self, key: LogKey, folder: Path) -> HotLog:
        log = self._open_logs.get(key)
        if log is None:
            log = self._open_logs[key] = HotLog(folder, max_bytes=self._max_bytes)
        return log

    def _close_idle(self) -> None:
        for key in list(self._open_logs):
            if len(self._open_logs) <= MOST_OPEN:
                return
            lock = self._locks.get(key)
            if lock is None or not lock.locked():
                self._open_logs.pop(key).close()

    def _lock(self, key: LogKey) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _paths(self, key: LogKey) -> tuple[Path, Path]:
        """The hot folder and the sealed file."""
        if not BUILD_UUID.fullmatch(key.build_uuid) or key.attempt < 0:
            raise InvalidInput(f"{key.build_uuid[:80]!r} is no build")
        name = f"{key.build_uuid}.{key.attempt}"
        return self._root / "hot" / name, self._root / "sealed" / key.build_uuid[:2] / f"{name}.zst"


def _open_reader(folder: Path, sealed: Path) -> Reader | None:
    for _ in range(2):  # a log sealed between the two looks is there at the second
        try:
            return Reader(folder, sealed)
        except FileNotFoundError:
            continue
    return None


def _walk_back(reader: Reader, lines: int, lowest: int) -> int:
    """Count line ends from the back, chunk by chunk."""
    index = reader.look()
    wanted = lines
    for number in range(index.count - 1, -1, -1):
        entry = index.entry(number)
        if entry.end <= lowest:
            break
        data = reader.unpack(entry)
        if number == index.count - 1 and data.endswith(b"\n"):
            wanted += 1
        ends = data.count(b"\n")
        if ends < wanted:
            wanted -= ends
            continue
        position = len(data)
        for _ in range(wanted):
            position = data.rindex(b"\n", 0, position)
        return entry.offset + position + 1
    return lowest
