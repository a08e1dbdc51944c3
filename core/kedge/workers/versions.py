"""How a version comes into being: its manifest first, then the files that are missing, then all at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from kedge.db.clock import now_ms
from kedge.db.queries import doomed
from kedge.db.queries import versions as queries
from kedge.db.tables import Upload
from kedge.errors import BlobNotFound, Conflict, InvalidInput
from kedge.workers.completion import check_build, complete
from kedge.workers.manifest import check, file_key, manifest_key
from kedge.workers.uploads import OpenUpload, OpenUploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Collection, Iterable

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.host import Principal
    from kedge.db.engine import Database
    from kedge.db.tables import Version, Worker
    from kedge.workers.completion import Completed, Wish
    from kedge.workers.deployments import Deployments
    from kedge.workers.doomed import DoomedBlobs
    from kedge.workers.manifest import Manifest

log = structlog.get_logger("versions")

UPLOAD_LIFETIME_MS = 24 * 3600 * 1000
#: questions to the blob store at once
PROBES = 16


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What a client says of the version it is about to upload."""

    manifest: Manifest
    commit_hash: str | None = None
    branch: str | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An upload and the contents it still needs."""

    upload_id: str
    missing: list[str]


class Versions:
    """Uploads and versions. Any step may be repeated; nothing serves before the last one."""

    def __init__(self, db: Database, blobs: BlobStore, deployments: Deployments, doomed: DoomedBlobs) -> None:
        """Keep the parts."""
        self._db = db
        self._blobs = blobs
        self._doomed = doomed
        self._deployments = deployments
        self._uploads = OpenUploads(db, blobs)

    async def begin(self, principal: Principal, worker: str, new: NewVersion) -> Begun:
        """Take in a manifest and tell which contents are missing.

        Raises `InvalidInput` or `TooLarge` for a manifest that cannot be, `NotFound` for an unknown
        worker, `Forbidden` for another worker than the one that a build may deploy, `StoreUnavailable` if
        something that it needs is being cleared away and does not go.
        """
        manifest = new.manifest
        data = await asyncio.to_thread(_checked_json, manifest)
        found = await self._db.read(_own_worker, principal, worker)
        key = manifest_key(principal.account_id, manifest.digest)
        await self._blobs.put(key, data)
        upload_id = str(uuid4())
        upload_row = partial(_upload, principal, found.id, upload_id, new)
        needed = {key, *(file_key(principal.account_id, digest) for digest in manifest.sizes)}
        # From here on nothing of it is doomed any more; what was before goes first.
        if await self._db.write(self._add_upload, upload_row, needed):
            await self._doomed.wait(needed)
        await self._put_if_gone(key, data)
        missing = await self._missing(principal.account_id, manifest.sizes)
        upload = OpenUpload(
            account_id=principal.account_id,
            build_uuid=principal.build_uuid,
            worker=(found.id, found.name),
            sizes=manifest.sizes,
            present=manifest.sizes.keys() - missing,
        )
        self._uploads.remember(upload_id, upload)
        return Begun(upload_id=upload_id, missing=missing)

    async def put_file(
        self, principal: Principal, worker: str, upload_id: str, digest: str, body: AsyncIterable[bytes]
    ) -> None:
        """Store one content whole, or nothing of it.

        Raises `NotFound` for an unknown upload, `InvalidInput` for a content that the manifest does not
        name or that is not what its digest and size say.
        """
        upload = await self._uploads.find(upload_id)
        upload.check_caller(principal, worker)
        if digest not in upload.sizes:
            raise InvalidInput(f"the upload's manifest names no file with the SHA-256 {digest[:64]!r}")
        await self._blobs.put(file_key(upload.account_id, digest), upload.verified(digest, body))
        upload.present.add(digest)

    async def complete(self, principal: Principal, worker: str, upload_id: str, wish: Wish) -> Completed:
        """Make the version, and let it serve if `wish.deploy`, or be seen under `wish.alias`.

        A second call returns what the first one made and changes nothing. Raises `Conflict` while files
        are missing, `Forbidden` if a preview's build wants to deploy.
        """
        upload = await self._uploads.find(upload_id)
        upload.check_caller(principal, worker)
        if missing := await self._missing(upload.account_id, upload.sizes.keys() - upload.present):
            named = ", ".join(missing[:10])
            raise Conflict(f"{len(missing)} files have not been uploaded yet, by SHA-256: {named}")
        completed, published = await self._db.write(complete, self._deployments, principal, upload_id, wish)
        if published is not None:
            await self._deployments.announce(published, wish.urls)
            log.info(
                "version stored", version=completed.version_id, number=completed.number, url=completed.url
            )
        return completed

    async def page(
        self, account_id: str, worker: str, *, limit: int, offset: int
    ) -> tuple[list[Version], int]:
        """Versions of a worker, newest first, and how many there are. Raises `NotFound`."""
        return await self._db.read(_page, account_id, worker, limit, offset)

    async def get(self, account_id: str, worker: str, version_id: str) -> Version:
        """One version. Raises `NotFound`."""
        return await self._db.read(_get, account_id, worker, version_id)

    async def sweep(self) -> int:
        """Forget uploads that are a day old; tell how many. Call it now and then."""
        gone = await self._db.write(queries.delete_uploads, before=now_ms() - UPLOAD_LIFETIME_MS)
        for upload_id in gone:
            self._uploads.forget(upload_id)
        return len(gone)

    def _add_upload(self, session: Session, make: Callable[[], Upload], needed: Collection[str]) -> bool:
        """Whether something that it needs is doomed."""
        session.add(make())
        return bool(doomed.among(session, self._doomed.store, needed))

    async def _put_if_gone(self, key: str, data: bytes) -> None:
        try:
            await self._blobs.stat(key)
        except BlobNotFound:
            await self._blobs.put(key, data)

    async def _missing(self, account_id: str, digests: Iterable[str]) -> list[str]:
        waiting = iter(digests)
        missing: list[str] = []

        async def probe() -> None:
            for digest in waiting:
                try:
                    await self._blobs.stat(file_key(account_id, digest))
                except BlobNotFound:
                    missing.append(digest)

        await asyncio.gather(*(probe() for _ in range(PROBES)))
        return missing


def _checked_json(manifest: Manifest) -> bytes:
    check(manifest)
    # Worked out here, in a thread, for all who ask later.
    _ = manifest.digest
    return manifest.json


def _own_worker(session: Session, principal: Principal, worker: str) -> Worker:
    found = queries.find_worker(session, principal.account_id, worker)
    check_build(session, principal, found, deploy=False)
    return found


def _upload(principal: Principal, worker_id: str, upload_id: str, new: NewVersion) -> Upload:
    request = {
        "kind": new.manifest.kind,
        "digest": new.manifest.digest,
        "file_count": len(new.manifest.files),
        "byte_count": new.manifest.byte_count,
        "commit_hash": new.commit_hash,
        "branch": new.branch,
        "message": new.message,
    }
    return Upload(
        id=upload_id,
        account_id=principal.account_id,
        worker_id=worker_id,
        build_uuid=principal.build_uuid,
        request=request,
        created_on=now_ms(),
    )


def _page(
    session: Session, account_id: str, worker: str, limit: int, offset: int
) -> tuple[list[Version], int]:
    found = queries.find_worker(session, account_id, worker)
    versions = queries.newest(session, found.id, limit=limit, offset=offset)
    return versions, queries.count(session, found.id)


def _get(session: Session, account_id: str, worker: str, version_id: str) -> Version:
    return queries.get(session, queries.find_worker(session, account_id, worker).id, version_id)
