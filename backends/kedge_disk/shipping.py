"""Moves sealed logs to the archive. A store that is away delays this and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from kedge import KedgeError, LogKey
from kedge_disk.sealed import index_path
from kedge_disk.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge_disk.archive import Archive

log = structlog.get_logger("logs")

AT_ONCE = 4
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Shipping:
    """What is sealed and still lies on this node's disk, on its way."""

    def __init__(self, archive: Archive, lock: Callable[[LogKey], asyncio.Lock]) -> None:
        """`lock` gives the lock of a log."""
        self._archive = archive
        self._lock = lock
        self._waiting: asyncio.Queue[tuple[LogKey, Path]] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def start(self, left: list[tuple[LogKey, Path]]) -> None:
        """Begin, with what an earlier process left."""
        for one in left:
            self.add(*one)
        self._workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    def add(self, key: LogKey, sealed: Path) -> None:
        """Let a log go its way."""
        self._waiting.put_nowait((key, sealed))

    async def wait(self) -> None:
        """Return once nothing is under way."""
        await self._waiting.join()

    async def close(self) -> None:
        """Stop; what is left goes when the node starts again."""
        for worker in self._workers:
            worker.cancel()
        for worker in self._workers:
            with suppress(asyncio.CancelledError):
                await worker

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            key, sealed = await self._waiting.get()
            try:
                async with self._lock(key):
                    await self._ship(key, sealed)
            except Exception as error:
                log.warning(
                    "a log stays on this node's disk for now",
                    log=str(key),
                    reason=str(error),
                    exc_info=None if isinstance(error, (KedgeError, OSError)) else error,
                )
                self._waiting.put_nowait((key, sealed))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
            finally:
                self._waiting.task_done()

    async def _ship(self, key: LogKey, sealed: Path) -> None:
        if not await in_thread(index_path(sealed).exists):
            return  # deleted meanwhile
        await self._archive.keep(key, sealed)
        await in_thread(_remove, sealed)


def find_left(folder: Path) -> list[tuple[LogKey, Path]]:
    """The logs that are sealed below a folder."""
    found = ((LogKey.read(index.stem), index) for index in sorted(folder.glob("??/*.idx")))
    return [(key, index.with_suffix(".zst")) for key, index in found if key is not None]


def _remove(sealed: Path) -> None:
    # Readers look at the index first: with it gone they go to the archive.
    index_path(sealed).unlink()
    sealed.unlink(missing_ok=True)
