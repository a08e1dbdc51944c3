"""Logs as files: hot while they grow, sealed when they are whole."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict, Field

from kedge import Conflict, LogExtent, LogKey, Size
from kedge_disk.archive import Archive
from kedge_disk.files import translated
from kedge_disk.hot import HotLog
from kedge_disk.reader import Reader
from kedge_disk.sealed import index_path, read_extent, seal
from kedge_disk.shipping import Shipping, find_left
from kedge_disk.tail import Tail
from kedge_disk.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge import Host, LogChunk

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
    """Hot logs below `logs/hot`, sealed ones below `logs/sealed`, in the data dir.

    Where the chosen blob store is shared by all nodes, sealed logs go on to it in the background.
    """

    name: ClassVar[str] = "disk"
    Settings: ClassVar[type[BaseModel]] = DiskLogSettings
    shared: ClassVar[bool] = False

    def __init__(self, settings: DiskLogSettings, host: Host) -> None:
        """Keep the folders' names."""
        self._max_bytes = settings.max_bytes
        self._root = host.data_dir / "logs"
        self._open_logs: dict[LogKey, HotLog] = {}
        #: of the logs that somebody works on at this moment
        self._locks: WeakValueDictionary[LogKey, asyncio.Lock] = WeakValueDictionary()
        self._archive = Archive(host.blobs) if host.blobs.shared else None
        self.shipping = None if self._archive is None else Shipping(self._archive, self._lock)

    async def open(self) -> None:
        """Make the folders and clear out what a process killed while sealing left."""
        await in_thread(self._open)
        if self.shipping is not None:
            self.shipping.start(await in_thread(find_left, self._root / "sealed"))

    def _open(self) -> None:
        hot, sealed = self._root / "hot", self._root / "sealed"
        hot.mkdir(parents=True, exist_ok=True)
        for folder in hot.iterdir():
            if index_path(sealed / folder.name[:2] / f"{folder.name}.zst").exists():
                shutil.rmtree(folder, ignore_errors=True)

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Add the chunk with the next number."""
        async with self._lock(key):
            if self._archive and await self._is_away(key) and await self._archive.holds(key):
                raise Conflict("the log is sealed")
            with translated():
                extent = await in_thread(self._append, key, number, data, time_ms)
        self._close_idle()
        return extent

    def _append(self, key: LogKey, number: int, data: bytes, time_ms: int) -> LogExtent:
        folder, sealed = self._paths(key)
        if key not in self._open_logs and index_path(sealed).exists():
            raise Conflict("the log is sealed")
        return self._hot(key, folder).append(number, data, time_ms)

    async def extent(self, key: LogKey) -> LogExtent:
        """Tell how much there is."""
        hot = self._open_logs.get(key)
        if hot is not None:
            return hot.extent()
        async with self._lock(key):
            away = await self._archive.extent(key) if self._archive and await self._is_away(key) else None
            extent = await in_thread(self._extent, key) if away is None else away
        self._close_idle()
        return extent

    async def _is_away(self, key: LogKey) -> bool:
        """Whether a log that is there at all is in the archive."""
        paths = self._paths(key)
        return (
            self._archive is not None and key not in self._open_logs and await in_thread(_are_absent, *paths)
        )

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
        size = (await self.extent(key)).size
        end = size if end is None else min(end, size)
        paths = self._paths(key)
        position = start
        while position < end:
            reader = await in_thread(_open_reader, *paths, undo=_close)
            if reader is None:
                if self._archive is not None:
                    async for chunk in self._archive.read(key, position, end):
                        yield chunk
                return
            try:
                while chunks := await in_thread(reader.read, position, end):
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
        paths = self._paths(key)
        while True:
            extent = await self.extent(key)
            if lines <= 0:
                return extent.size
            reader = await in_thread(_open_reader, *paths, undo=_close)
            if reader is None:
                return 0 if self._archive is None else await self._archive.tail_offset(key, lines)
            try:
                return await in_thread(_walk_back, reader, lines, extent.gap_end)
            except FileNotFoundError:
                continue  # sealed, or dropped from the middle, under our eyes
            finally:
                reader.close()

    async def seal(self, key: LogKey) -> LogExtent:
        """Turn the log into one immutable file and its index."""
        async with self._lock(key):
            if self._archive and await self._is_away(key) and await self._archive.holds(key):
                return await self._archive.extent(key) or EMPTY
            with translated():
                extent = await in_thread(self._seal, key)
        if self.shipping is not None:
            self.shipping.add(key, self._paths(key)[1])
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
            await in_thread(self._delete, key)
            if self._archive is not None:
                await self._archive.delete(key)

    async def unsealed(self) -> list[LogKey]:
        """The logs that were begun and not sealed."""
        return await in_thread(self._unsealed)

    def _unsealed(self) -> list[LogKey]:
        found = (LogKey.read(folder.name) for folder in (self._root / "hot").iterdir())
        return [key for key in found if key is not None]

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
        if self.shipping is not None:
            await self.shipping.close()
        for log in self._open_logs.values():
            log.close()
        self._open_logs.clear()

    def _hot(self, key: LogKey, folder: Path) -> HotLog:
        log = self._open_logs.get(key)
        if log is None:
            log = self._open_logs[key] = HotLog(folder, max_bytes=self._max_bytes)
        return log

    def _close_idle(self) -> None:
        # On the event loop, where locks are taken: nobody begins to work on a log while it is closed.
        if len(self._open_logs) <= MOST_OPEN:
            return
        idle = [key for key in self._open_logs.copy() if key not in self._locks]
        for key in idle[: len(self._open_logs) - MOST_OPEN]:
            self._open_logs.pop(key).close()

    def _lock(self, key: LogKey) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    def _paths(self, key: LogKey) -> tuple[Path, Path]:
        """The hot folder and the sealed file."""
        key.check()
        return self._root / "hot" / str(key), self._root / "sealed" / key.log_id[:2] / f"{key}.zst"


def _open_reader(folder: Path, sealed: Path) -> Reader | None:
    for _ in range(2):  # a log sealed between the two looks is there at the second
        try:
            return Reader(folder, sealed)
        except FileNotFoundError:
            continue
    return None


def _are_absent(folder: Path, sealed: Path) -> bool:
    return not folder.exists() and not index_path(sealed).exists()


def _close(reader: Reader | None) -> None:
    if reader is not None:
        reader.close()


def _walk_back(reader: Reader, lines: int, lowest: int) -> int:
    index, tail = reader.look(), Tail(lines, lowest)
    for number in range(index.count - 1, -1, -1):
        entry = index.entry(number)
        found = lowest if entry.end <= lowest else tail.take(entry, reader.unpack(entry))
        if found is not None:
            return found
    return lowest
