"""Storing a blob: small ones in one request, larger ones in parts that travel side by side."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import structlog

from kedge import BlobNotFound, Conflict, KedgeError, TooLarge
from kedge_s3.settings import MOST_PARTS
from kedge_s3.sources import cut_stream, cut_whole, part_size_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

    from kedge_s3.bucket import Bucket
    from kedge_s3.settings import S3Settings
    from kedge_s3.sources import Part
    from kedge_s3.threads import Threads
    from kedge_s3.trial import Abilities

log = structlog.get_logger("s3")

LARGEST_SINGLE = 5 * 1024**3


class Upload:
    """Stores one blob under one key."""

    def __init__(
        self, bucket: Bucket, threads: Threads, settings: S3Settings, abilities: Abilities, key: str
    ) -> None:
        """Nothing is sent yet."""
        self._bucket = bucket
        self._threads = threads
        self._settings = settings
        self._abilities = abilities
        self._key = key

    async def run(self, data: bytes | Path | AsyncIterable[bytes], *, if_absent: bool) -> int:
        """Store `data`; return its size. `if_absent` holds if the store can do conditions."""
        part_size = self._settings.part_size
        if isinstance(data, Path):
            size = (await self._threads.run(data.stat)).st_size
        elif isinstance(data, bytes):
            size = len(data)
        else:
            return await self._run_stream(data, part_size, if_absent)
        if size <= part_size:
            return await self._threads.run_to_end(self._put, data, if_absent)
        if if_absent:
            await self._refuse_if_there()
            if not self._abilities.conditional_complete:
                return await self._threads.run_to_end(self._put_large, data, size)
        part_size = part_size_for(size, part_size)
        return await self._send_parts(cut_whole(data, size, part_size), part_size, if_absent)

    async def _run_stream(self, data: AsyncIterable[bytes], part_size: int, if_absent: bool) -> int:  # noqa: FBT001
        async with aclosing(cut_stream(data, part_size)) as parts:
            first = await anext(parts, bytes)
            second = await anext(parts, None)
            if second is None:
                return await self._threads.run_to_end(self._put, first, if_absent)
            if if_absent:
                await self._refuse_if_there()
            rest = _chain(first, second, parts)
            if if_absent and not self._abilities.conditional_complete:
                return await self._spool(rest)
            return await self._send_parts(rest, part_size, if_absent)

    async def _refuse_if_there(self) -> None:
        # Asked only to spare the way of many bytes; the condition decides in the end.
        with suppress(BlobNotFound):
            await self._threads.run(self._bucket.stat, self._key)
            raise Conflict(f"the blob {self._key} is there already")

    def _put(self, data: bytes | Path | Part, if_absent: bool) -> int:  # noqa: FBT001  (passed on to a thread)
        body = data if isinstance(data, bytes) else data.read_bytes() if isinstance(data, Path) else data()
        self._bucket.put(self._key, body, if_absent=if_absent)
        return len(body)

    def _put_large(self, data: bytes | Path, size: int) -> int:
        """One request for many bytes: some stores heed a condition only there."""
        if isinstance(data, bytes):
            return self._put(data, if_absent=True)
        with data.open("rb") as file:
            self._put_file(file, size)
        return size

    def _put_file(self, file: IO[bytes], size: int) -> None:
        if size > LARGEST_SINGLE:
            raise TooLarge(f"{self._key}: this store takes 5 GiB at most where it must not replace a blob")
        file.seek(0)
        self._bucket.put(self._key, file, if_absent=True)

    async def _spool(self, parts: AsyncGenerator[Part]) -> int:
        size = 0
        with tempfile.TemporaryFile() as file:
            async for part in parts:
                size += await self._threads.run_to_end(_write, file, part)
            await self._threads.run_to_end(self._put_file, file, size)
        return size

    # ---- parts

    async def _send_parts(self, parts: AsyncGenerator[Part], part_size: int, if_absent: bool) -> int:  # noqa: FBT001
        upload = await self._threads.run_to_end(self._bucket.begin, self._key, part_size)
        try:
            sent = await self._send_all(upload, parts)
            etags = [etag for etag, _ in sent]
            join = partial(self._bucket.join, self._key, upload, etags, if_absent=if_absent)
            await self._threads.run_to_end(join)
        except BaseException:
            await self._abort(upload)
            raise
        return sum(size for _, size in sent)

    async def _send_all(self, upload: str, parts: AsyncGenerator[Part]) -> list[tuple[str, int]]:
        """Send the parts; no more of them are in memory than travel at once, and one."""
        free = asyncio.Semaphore(self._settings.parallel)
        sending: list[asyncio.Task[tuple[str, int]]] = []
        failed: list[asyncio.Task[Any]] = []

        def ended(task: asyncio.Task[Any]) -> None:
            free.release()
            if task.cancelled() or task.exception() is not None:
                failed.append(task)

        try:
            async with aclosing(parts):
                async for part in parts:
                    await free.acquire()
                    if failed or len(sending) == MOST_PARTS:
                        break
                    sending.append(asyncio.create_task(self._send(upload, len(sending) + 1, part)))
                    sending[-1].add_done_callback(ended)
                else:
                    return await asyncio.gather(*sending)
            for task in failed:
                task.result()
            raise TooLarge(f"{self._key}: more than {MOST_PARTS} parts; raise `part_size`")
        finally:
            for task in sending:
                task.cancel()
            await _all_ended(sending)

    async def _send(self, upload: str, number: int, part: Part) -> tuple[str, int]:
        return await self._threads.run_to_end(self._send_part, upload, number, part)

    def _send_part(self, upload: str, number: int, part: Part) -> tuple[str, int]:
        body = part()
        return self._bucket.put_part(self._key, upload, number, body), len(body)

    async def _abort(self, upload: str) -> None:
        try:
            await self._threads.run_to_end(self._bucket.abort, self._key, upload)
        except KedgeError as error:
            log.warning("an upload could not be dropped; a sweep will", key=self._key, error=str(error))


async def _chain(first: Part, second: Part, rest: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    yield first
    yield second
    async for part in rest:
        yield part


async def _all_ended(tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were cancelled, whoever cancels the waiting."""
    while pending := [task for task in tasks if not task.done()]:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pending)


def _write(file: IO[bytes], part: Part) -> int:
    return file.write(part())
