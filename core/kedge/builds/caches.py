"""The build cache on Kedge's side: who may read and write what, and what is kept for how long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from sqlmodel import col

from kedge.db.clock import now_ms
from kedge.db.queries import caches as queries
from kedge.db.tables import CacheArchive
from kedge.errors import BlobDamaged, BlobNotFound, InvalidInput, StoreError, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from sqlmodel import Session

    from kedge.config.settings import BuildSettings
    from kedge.contracts.attempt_name import AttemptName
    from kedge.contracts.blobs import BlobStore, PresignedRequest
    from kedge.db.engine import Database
    from kedge.db.queries.caches import Found, Wanted

log = structlog.get_logger("caches")

#: a transfer that takes longer than this is none that a build should wait for
URL_LIFETIME = timedelta(hours=1)
UPLOAD_LIFETIME_MS = 2 * 3600 * 1000
#: an archive that no key finds any more may still be on its way to a build
UNNAMED_LIFETIME_MS = 3600 * 1000
HASHED_AT_ONCE = 1024 * 1024
REMOVED_AT_ONCE = 20
#: uploads that a build may have begun and not completed; none has as many caches
MOST_UNFINISHED = 32


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What a build says of an archive that it has packed."""

    fingerprint: str
    size: int
    sha256: str
    tree_bytes: int
    file_count: int

    def describe(self, archive: CacheArchive) -> None:
        """Say all of this of an archive."""
        for name, value in vars(self).items():
            setattr(archive, name, value)


class Caches:
    """All methods may be called at once. A build is named by its attempt, whose token its runner showed."""

    def __init__(self, db: Database, blobs: BlobStore, settings: BuildSettings) -> None:
        """Keep the parts."""
        self._db = db
        self._blobs = blobs
        self._settings = settings

    async def look_up(
        self, attempt: AttemptName, wanted: Wanted
    ) -> tuple[Found, PresignedRequest | None] | None:
        """The best that this build may read, and how its runner gets it; `None` goes through `read`."""
        found = await self._db.write(queries.read, attempt, wanted, now_ms())
        if found is None:
            return None
        return found, await self._blobs.presign(blob_key(found.archive), "GET", expires=URL_LIFETIME)

    async def know(self, attempt: AttemptName, wanted: Wanted, fingerprint: str) -> bool:
        """Whether such a tree is kept already, from now on under this key too. Raises `Forbidden`."""
        return await self._db.write(queries.know, attempt, wanted, fingerprint, now_ms())

    async def begin(
        self, attempt: AttemptName, wanted: Wanted, packed: Packed, md5: bytes
    ) -> tuple[str, PresignedRequest | None]:
        """Prepare an upload; return its id and how it is sent: `None` goes through `write`.

        Raises `TooLarge`, or `Forbidden` for a build that may not write.
        """
        limit = self._settings.cache_limit
        if packed.size > limit:
            raise TooLarge(f"it has {packed.size} bytes, and a worker may keep {limit}. Cache less")
        archive = await self._db.write(add_archive, attempt, wanted, limit, packed)
        put = await self._blobs.presign(
            blob_key(archive), "PUT", expires=URL_LIFETIME, size=packed.size, md5=md5
        )
        return archive.id, put

    async def write(self, attempt: AttemptName, archive_id: str, body: AsyncIterable[bytes]) -> None:
        """Store the bytes of an upload whole, or none. Raises `NotFound`, or `InvalidInput` for others."""
        archive = await self._db.read(own_archive, attempt, archive_id)
        await self._blobs.put(blob_key(archive), _verified(archive, body))

    async def complete(self, attempt: AttemptName, archive_id: str) -> None:
        """Let later builds find an upload. Raises `NotFound`, `InvalidInput` if the bytes are not there."""
        archive = await self._db.read(own_archive, attempt, archive_id)
        if (await self._blobs.stat(blob_key(archive))).size != archive.size:
            raise InvalidInput("the upload is not complete; save the cache again")
        await self._db.write(queries.complete, attempt, archive_id, now_ms())
        await self._db.write(
            queries.doom_surplus, limit=self._settings.cache_limit, worker_id=archive.worker_id
        )
        await self.remove_doomed()

    async def drop(self, attempt: AttemptName, archive_id: str) -> None:
        """Forget an upload that is not wanted after all. Raises `NotFound`."""
        archive = await self._db.read(own_archive, attempt, archive_id)
        if archive.state == queries.UPLOADING:
            await self._db.write(queries.doom, col(CacheArchive.id) == archive_id)
            await self.remove_doomed()

    async def read(self, attempt: AttemptName, archive_id: str) -> tuple[int, AsyncIterator[bytes]]:
        """Size and bytes of an archive that this build may read. Raises `NotFound`."""
        archive = await self._db.read(queries.visible_archive, attempt, archive_id)
        stored = await self._blobs.stat(blob_key(archive))
        return stored.size, self._bytes(archive)

    async def _bytes(self, archive: CacheArchive) -> AsyncIterator[bytes]:
        """What the store has; an archive that it finds damaged is doomed, so that a good one is saved."""
        try:
            async for part in self._blobs.get(blob_key(archive)):
                yield part
        except (BlobDamaged, BlobNotFound) as error:
            log.warning("a cache archive was damaged", archive=archive.id, error=str(error))
            await self._db.write(queries.doom, col(CacheArchive.id) == archive.id)
            raise

    async def reject(self, attempt: AttemptName, archive_id: str) -> None:
        """Let nobody find an archive that is damaged. Raises `NotFound`, `Forbidden`."""
        await self._db.write(queries.reject, attempt, archive_id)
        log.warning("a cache archive was damaged", archive=archive_id, build=attempt.build_uuid)

    async def list(
        self, account_id: str, worker: str | None, *, limit: int, offset: int
    ) -> tuple[list[Found], int]:
        """A page of what is kept by a worker or by all, the latest read first, and how many there are.

        Raises `NotFound`.
        """
        return await self._db.read(queries.entries, account_id, worker, limit=limit, offset=offset)

    async def purge(self, account_id: str, worker: str) -> None:
        """Forget all that a worker keeps. Nothing of it is given out from now on. Raises `NotFound`."""
        await self._db.write(queries.doom_worker, account_id, worker)
        await self.remove_doomed()

    async def sweep(self) -> None:
        """Remove what was not read for too long, or is too much. Call it now and then."""
        now = now_ms()
        await self._db.write(
            queries.doom_old,
            unread_since=now - int(self._settings.cache_retention * 1000),
            unfinished_since=now - UPLOAD_LIFETIME_MS,
            unnamed_since=now - UNNAMED_LIFETIME_MS,
        )
        await self._db.write(queries.doom_surplus, limit=self._settings.cache_limit)
        await self.remove_doomed()

    async def remove_doomed(self) -> None:
        """Delete the bytes of what is doomed; what the store cannot do now is done by a later sweep."""
        last = ""
        while archives := await self._db.read(queries.doomed, after=last, limit=REMOVED_AT_ONCE):
            last = archives[-1].id
            gone = await asyncio.gather(*(self._remove(archive) for archive in archives))
            await self._db.write(queries.forget, [one for one in gone if one is not None])

    async def _remove(self, archive: CacheArchive) -> str | None:
        try:
            if archive.upload and (parts := self._blobs.signed_parts) is not None:
                await parts.drop(blob_key(archive), archive.upload)
            await self._blobs.delete(blob_key(archive))
        except StoreError as error:
            log.warning("a cache archive cannot be deleted now", archive=archive.id, error=str(error))
            return None
        return archive.id


def blob_key(archive: CacheArchive) -> str:
    """Where its bytes lie. Nothing in it was said by a build."""
    return f"cache/{archive.account_id}/{archive.worker_id}/{archive.id}"


def add_archive(
    session: Session, attempt: AttemptName, wanted: Wanted, limit: int, packed: Packed | None = None
) -> CacheArchive:
    """Add an archive that is being sent, and described later if not yet. Raises `Forbidden`, `TooLarge`."""
    where = queries.writable_scope(session, attempt)
    size, count = queries.unfinished(session, where.worker_id, attempt.build_uuid)
    if count >= MOST_UNFINISHED:
        raise TooLarge(f"a build may send {MOST_UNFINISHED} caches at a time; complete or drop one first")
    check_unfinished(size + (packed.size if packed is not None else 0), limit)
    now = now_ms()
    archive = CacheArchive(
        id=str(uuid4()),
        account_id=where.account_id,
        worker_id=where.worker_id,
        build_uuid=attempt.build_uuid,
        branch=where.branches[0],
        name=wanted.name,
        version=wanted.version,
        key=wanted.key,
        created_on=now,
        read_on=now,
    )
    if packed is not None:
        packed.describe(archive)
    session.add(archive)
    return archive


def check_unfinished(size: int, limit: int) -> None:
    """Uploads that nobody completes fill the store until they are swept. Raises `TooLarge`."""
    if size > limit:
        raise TooLarge(
            f"uploads of the worker that are not complete would have over {limit} bytes, which is what "
            "it may keep: complete or drop them. What ended builds have left is removed in some hours"
        )


def own_archive(session: Session, attempt: AttemptName, archive_id: str) -> CacheArchive:
    """An archive that this build makes, and may write. Raises `NotFound`, `Forbidden`."""
    queries.writable_scope(session, attempt)
    return queries.own_archive(session, attempt, archive_id)


async def _verified(archive: CacheArchive, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Pass on `body` in larger parts, hashed beside the event loop; raise at its end if it is another one."""
    digest, size, waiting = sha256(), 0, bytearray()
    async for part in body:
        size += len(part)
        if size > archive.size:
            break
        waiting += part
        if len(waiting) >= HASHED_AT_ONCE:
            whole, waiting = bytes(waiting), bytearray()
            await asyncio.to_thread(digest.update, whole)
            yield whole
    digest.update(waiting)
    yield bytes(waiting)
    if size != archive.size or digest.hexdigest() != archive.sha256:
        raise InvalidInput(f"the content is not the {archive.size} bytes that were announced: send it again")
