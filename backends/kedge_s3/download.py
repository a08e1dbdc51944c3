"""Reading a blob: its first bytes at once, the rest in parts that travel side by side."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING

from kedge import BlobDamaged, Conflict, StoreUnavailable
from kedge_s3.bucket import BrokenOff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from kedge_s3.bucket import Bucket, Piece
    from kedge_s3.checks import Check
    from kedge_s3.settings import S3Settings
    from kedge_s3.threads import Threads

#: of the first request: small blobs come whole, and large ones begin soon
FIRST_BYTES = 1024 * 1024
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class Downloads:
    """Reads blobs; all readers together hold a bounded number of parts beside the one each needs next."""

    def __init__(self, bucket: Bucket, threads: Threads, settings: S3Settings) -> None:
        """Nothing is read yet."""
        self._bucket = bucket
        self._threads = threads
        self._settings = settings
        #: parts that may still be held ahead of their readers
        self._room = settings.connections

    async def read(self, key: str, start: int, end: int | None) -> AsyncGenerator[bytes]:
        """Yield bytes `start` to `end`."""
        if end is not None and start >= end:
            await self._threads.run(self._bucket.stat, key)
            return
        first_end = start + FIRST_BYTES if end is None else min(end, start + FIRST_BYTES)
        first = await self._fetch(key, start, first_end)
        if first is None:
            return
        stop = first.total if end is None else min(end, first.total)
        check = first.check if start == 0 and stop == first.total else None
        if stop <= first_end:
            if check is not None:
                await self._threads.run(check.update, first.data)
                self._end(key, check)
            yield first.data
            return
        size = self._settings.part_size if check is None else check.part_size or self._settings.part_size
        async with aclosing(self._rest(key, first, _cut(first_end, stop, size), check)) as pieces:
            left = stop - start
            async for piece in pieces:
                left -= len(piece.data)
                if check is not None:
                    if piece.digest is None:
                        await self._threads.run(check.update, piece.data)
                    else:
                        check.add_part(piece.digest)
                    if not left:
                        self._end(key, check)
                yield piece.data

    async def _rest(
        self, key: str, first: Piece, waiting: Iterator[tuple[int, int]], check: Check | None
    ) -> AsyncGenerator[Piece]:
        """The first piece and those that follow, each asked for before its turn comes."""
        ahead: deque[asyncio.Task[Piece]] = deque()
        # A reader who goes on reading gets more and more ahead of it: most stop early or are slow.
        window = 1
        try:
            piece: Piece | None = first
            while piece is not None:
                while len(ahead) < window and (not ahead or self._room > 0):
                    wanted = next(waiting, None)
                    if wanted is None:
                        break
                    self._room -= 1
                    # Whole parts are hashed where they arrive, side by side.
                    hashed = check is not None and check.part_size == wanted[1] - wanted[0]
                    ahead.append(asyncio.create_task(self._follow(key, first, *wanted, hashed=hashed)))
                yield piece
                piece = await self._take(ahead)
                window = min(window * 2, self._settings.parallel)
        finally:
            self._room += len(ahead)
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _take(self, ahead: deque[asyncio.Task[Piece]]) -> Piece | None:
        if not ahead:
            return None
        piece = await ahead[0]
        ahead.popleft()
        self._room += 1
        return piece

    async def _follow(self, key: str, first: Piece, start: int, end: int, *, hashed: bool) -> Piece:
        """A further piece of the same blob."""
        piece = await self._fetch(key, start, end, hashed=hashed)
        if piece is None or (piece.etag, piece.total) != (first.etag, first.total):
            raise Conflict(f"the blob {key} was replaced while it was read: read it again")
        return piece

    async def _fetch(self, key: str, start: int, end: int, *, hashed: bool = False) -> Piece | None:
        """One request, made again if the store begins to answer and breaks off."""
        pause = FIRST_PAUSE
        for _ in range(self._settings.attempts - 1):
            try:
                return await self._threads.run(self._bucket.get, key, start, end, hashed)
            except BrokenOff:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (to spread, not to hide)
                pause = min(pause * 2, LONGEST_PAUSE)
        try:
            return await self._threads.run(self._bucket.get, key, start, end, hashed)
        except BrokenOff as error:
            raise StoreUnavailable(f"bucket {self._bucket.name}: the store breaks off its answers") from error

    def _end(self, key: str, check: Check) -> None:
        if not check.is_passed():
            raise BlobDamaged(f"bucket {self._bucket.name}: {key} holds other bytes than were stored")


def _cut(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges to ask for; a store is quicker with those that are whole parts of what it was sent."""
    while start < stop:
        end = min((start // size + 1) * size, stop)
        yield start, end
        start = end
