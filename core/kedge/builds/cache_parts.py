"""Archives of caches that builds send part by part while they pack them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.builds.caches import URL_LIFETIME, add_archive, blob_key, check_unfinished, own_archive
from kedge.db.queries.caches import UPLOADING, unfinished
from kedge.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from kedge.builds.caches import Caches, Packed
    from kedge.config.settings import BuildSettings
    from kedge.contracts.attempt_name import AttemptName
    from kedge.contracts.blobs import BlobStore, PresignedRequest
    from kedge.contracts.signed_parts import SignedParts
    from kedge.db.engine import Database
    from kedge.db.queries.caches import Wanted
    from kedge.db.tables import CacheArchive


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part holds."""

    number: int
    size: int
    md5: bytes


class CacheParts:
    """The bytes never pass through here. All methods may be called at once; raise `NotFound`, `Forbidden`."""

    def __init__(self, db: Database, blobs: BlobStore, settings: BuildSettings, caches: Caches) -> None:
        """Keep the parts."""
        self._db = db
        self._blobs = blobs
        self._limit = settings.cache_limit
        self._caches = caches

    async def begin(self, attempt: AttemptName, wanted: Wanted) -> tuple[str, int] | None:
        """Begin an archive; return its id and the size of its parts, or `None` if the store signs none."""
        parts = self._blobs.signed_parts
        if parts is None:
            return None
        archive = await self._db.write(add_archive, attempt, wanted, self._limit)
        part_size = parts.size_for(self._limit)
        upload = await parts.begin(blob_key(archive), part_size)
        await self._db.write(_note_upload, attempt, archive.id, upload)
        return archive.id, part_size

    async def sign(self, attempt: AttemptName, archive_id: str, part: Part) -> PresignedRequest:
        """How a part is sent: these bytes, once or often. Raises `TooLarge` if it all comes to too much."""
        archive = await self._db.write(_count, attempt, archive_id, part.size, self._limit)
        return await self._parts().presign(
            blob_key(archive),
            archive.upload,
            part.number,
            expires=URL_LIFETIME,
            size=part.size,
            md5=part.md5,
        )

    async def join(self, attempt: AttemptName, archive_id: str, packed: Packed, etags: Sequence[str]) -> None:
        """Let later builds find the archive, made of its parts. Raises `InvalidInput` for other parts."""
        archive = await self._db.read(own_archive, attempt, archive_id)
        if archive.state == UPLOADING:
            joined = await self._parts().join(blob_key(archive), _upload_of(archive), etags)
            if joined.size != packed.size:
                raise InvalidInput("the upload is not complete; save the cache again")
            await self._db.write(_describe, attempt, archive_id, packed)
        await self._caches.complete(attempt, archive_id)

    def _parts(self) -> SignedParts:
        if self._blobs.signed_parts is None:
            raise InvalidInput("the store signs no parts any more; save the cache again")
        return self._blobs.signed_parts


def _note_upload(session: Session, attempt: AttemptName, archive_id: str, upload: str) -> None:
    own_archive(session, attempt, archive_id).upload = upload


def _count(session: Session, attempt: AttemptName, archive_id: str, size: int, limit: int) -> CacheArchive:
    archive = own_archive(session, attempt, archive_id)
    _upload_of(archive)
    archive.size += size
    if archive.size > limit:
        raise TooLarge(f"it has over {limit} bytes, which is what a worker may keep. Cache less")
    session.flush()
    check_unfinished(unfinished(session, archive.worker_id, archive.build_uuid)[0], limit)
    return archive


def _describe(session: Session, attempt: AttemptName, archive_id: str, packed: Packed) -> None:
    packed.describe(own_archive(session, attempt, archive_id))


def _upload_of(archive: CacheArchive) -> str:
    if archive.state != UPLOADING or not archive.upload:
        raise InvalidInput("this archive is not being sent in parts")
    return archive.upload
