"""Logs that every node reads: hot ones in the database, sealed ones in the shared blob store."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import structlog
import zstandard

from kedge import ConfigError, Conflict, KedgeError, LogChunk, LogExtent
from kedge_disk.archive import Archive
from kedge_disk.files import translated
from kedge_disk.index import Entry
from kedge_disk.log_store import EMPTY, DiskLogSettings
from kedge_disk.reader import LARGEST_CHUNK
from kedge_disk.sealed import SealedWriter, index_path
from kedge_disk.tail import Tail
from kedge_disk.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pydantic import BaseModel

    from kedge import Host, HotFrame, HotLogs, LogKey

log = structlog.get_logger("logs")

LEVEL = 3
NOT_SHARED = (
    'logs.use: "database" moves logs to a blob store that all nodes share: '
    'set blobs.use = "s3", or blobs.disk.folder to a folder that they all mount'
)
#: a log that another node sealed and did not move, because it died, is moved after so long
SWEEP_SECONDS = 10.0
MOVES_AT_ONCE = 4


class SharedLogs:
    """Chunks are rows while a log grows; once sealed, a log goes to the blob store and its rows go."""

    name: ClassVar[str] = "database"
    Settings: ClassVar[type[BaseModel]] = DiskLogSettings
    shared: ClassVar[bool] = True

    def __init__(self, settings: DiskLogSettings, host: Host) -> None:
        """Keep the settings. Raises `ConfigError` where nothing is shared."""
        if host.hot_logs is None:
            raise ConfigError(
                ['logs.use: "database" is for PostgreSQL: set database = "postgresql://…", or use "disk"']
            )
        if not host.blobs.shared:
            raise ConfigError([NOT_SHARED])
        self._hot: HotLogs = host.hot_logs
        self._max_bytes = settings.max_bytes
        self._folder = host.data_dir / "logs" / "moving"
        self._archive = Archive(host.blobs)
        self._moves: dict[LogKey, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MOVES_AT_ONCE)
        self._sweeper: asyncio.Task[None] | None = None
        self._swept = asyncio.Event()

    async def open(self) -> None:
        """Clear out what a killed process left, and begin to move what is sealed."""
        await in_thread(self._open)
        self._sweeper = asyncio.create_task(self._sweep())

    def _open(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    async def append(self, key: LogKey, number: int, data: bytes, *, time_ms: int) -> LogExtent:
        """Add the chunk with the next number."""
        key.check()
        frame = await in_thread(_pack, data)
        extent = await self._append(key, number, frame, len(data), time_ms, begin=False)
        if extent is None:
            if await self._archive.holds(key):
                raise Conflict("the log is sealed")
            extent = await self._append(key, number, frame, len(data), time_ms, begin=True)
        return extent or EMPTY

    async def _append(
        self, key: LogKey, number: int, frame: bytes, size: int, time_ms: int, *, begin: bool
    ) -> LogExtent | None:
        return await self._hot.append(
            key, number, frame, size=size, time_ms=time_ms, most_bytes=self._max_bytes, begin=begin
        )

    async def extent(self, key: LogKey) -> LogExtent:
        """Tell how much there is."""
        key.check()
        # In this order: a log is in the archive before it is gone from the database.
        return await self._hot.extent(key) or await self._archive.extent(key) or EMPTY

    async def read(self, key: LogKey, *, start: int = 0, end: int | None = None) -> AsyncIterator[LogChunk]:
        """Yield the chunks that overlap `start` to `end`, as far as there are any now."""
        size = (await self.extent(key)).size
        end = size if end is None else min(end, size)
        position = start
        while position < end:
            frames = await self._hot.frames(key, start=position, end=end)
            if not frames:
                break
            for chunk in await in_thread(_unpack, frames):
                yield chunk
            position = frames[-1].offset + frames[-1].size
        if position < end and await self._hot.extent(key) is None:
            # moved meanwhile, or long ago
            async for chunk in self._archive.read(key, position, end):
                yield chunk

    async def tail_offset(self, key: LogKey, lines: int) -> int:
        """The offset at which the last `lines` lines begin."""
        key.check()
        extent = await self._hot.extent(key)
        if extent is None:
            return await self._archive.tail_offset(key, lines)
        if lines <= 0:
            return extent.size
        tail, number = Tail(lines, extent.gap_end), extent.next_number
        while number and (frames := await self._hot.frames_before(key, number)):
            for chunk in reversed(await in_thread(_unpack, frames)):
                entry = Entry(chunk.offset, chunk.time_ms, 0, len(chunk.data), 0, 0)
                found = tail.take(entry, chunk.data)
                if found is not None:
                    return found
            number = frames[0].number
        if number and await self._hot.extent(key) is None:
            return await self._archive.tail_offset(key, lines)
        return extent.gap_end

    async def seal(self, key: LogKey) -> LogExtent:
        """Take no more, and move the log in the background."""
        key.check()
        extent = await self._hot.seal(key, begin=False)
        if extent is None:
            archived = await self._archive.extent(key)
            if archived is not None:
                return archived
            extent = await self._hot.seal(key, begin=True)
        self._start_move(key)
        return extent or EMPTY

    async def unsealed(self) -> list[LogKey]:
        """The logs that this node began and nobody sealed."""
        return await self._hot.begun_here()

    async def delete(self, key: LogKey) -> None:
        """Remove every byte of it."""
        key.check()
        move = self._moves.get(key)
        if move is not None:
            await asyncio.wait((move,))
        await self._hot.delete(key)
        await self._archive.delete(key)

    async def wait_for_moves(self) -> None:
        """Return once nothing that this node has sealed is under way."""
        while self._moves:
            await asyncio.wait(self._moves.values())

    async def wait_for_sweep(self) -> None:
        """Return once what others had left at the start is moved."""
        await self._swept.wait()
        await self.wait_for_moves()

    async def close(self) -> None:
        """Stop; what is not moved yet is moved by another node, or after the next start."""
        tasks = [*self._moves.values(), *([self._sweeper] if self._sweeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start_move(self, key: LogKey) -> None:
        if key not in self._moves:
            move = self._moves[key] = asyncio.create_task(self._move(key))
            move.add_done_callback(lambda _: self._moves.pop(key, None))

    async def _move(self, key: LogKey) -> None:
        try:
            async with self._slots:
                await self._write_and_keep(key)
                await self._hot.delete(key)
        except Exception as error:  # noqa: BLE001  (whatever it is, the rows stay and the sweep tries again)
            log.warning("a log stays in the database for now", log=str(key), reason=str(error))

    async def _write_and_keep(self, key: LogKey) -> None:
        extent = await self._hot.extent(key)
        if extent is None:
            return  # another node has moved it
        target = self._folder / f"{key}.zst"
        try:
            await self._write(key, extent, target)
            await self._archive.keep(key, target)
        finally:
            for path in (target, index_path(target)):
                path.unlink(missing_ok=True)

    async def _write(self, key: LogKey, extent: LogExtent, target: Path) -> None:
        with translated(), SealedWriter(target) as writer:
            number = -1
            while frames := await self._hot.frames_after(key, number):
                await in_thread(writer.add, frames)
                number = frames[-1].number
            await in_thread(writer.finish, extent)

    async def _sweep(self) -> None:
        while True:
            with suppress(KedgeError, OSError):
                for key in await self._hot.sealed():
                    self._start_move(key)
            self._swept.set()
            await asyncio.sleep(SWEEP_SECONDS)


def _pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)


def _unpack(frames: list[HotFrame]) -> list[LogChunk]:
    decompressor = zstandard.ZstdDecompressor()
    return [
        LogChunk(
            number=one.number,
            offset=one.offset,
            time_ms=one.time_ms,
            data=decompressor.decompress(one.frame, max_output_size=LARGEST_CHUNK),
        )
        for one in frames
    ]
