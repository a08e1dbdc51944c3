"""Uploads under way, as one node remembers them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from kedge.db.queries import versions as queries
from kedge.errors import InvalidInput
from kedge.workers.lru import Lru
from kedge.workers.manifest import Manifest, manifest_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.host import Principal
    from kedge.db.engine import Database

#: files that are remembered, of all uploads together
REMEMBERED_FILES = 50_000


@dataclass(frozen=True, kw_only=True)
class OpenUpload:
    """Remembered so that a file costs no look at the database.

    What was `present` once still is: nothing that an upload needs is cleared away while it is open.
    """

    account_id: str
    build_uuid: str | None
    #: its tag and its name
    worker: tuple[str, str]
    sizes: dict[str, int]
    present: set[str]

    def check_caller(self, principal: Principal, worker: str) -> None:
        """Raise `NotFound` unless it is the caller's own upload for this worker."""
        mine = (principal.account_id, principal.build_uuid) == (self.account_id, self.build_uuid)
        if not mine or worker not in self.worker:
            raise queries.upload_not_found()

    async def verified(self, digest: str, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Pass on `body`; raise `InvalidInput` at its end if it is not what the manifest promised."""
        size, received, found = self.sizes[digest], 0, sha256()
        async for part in body:
            received += len(part)
            if received > size:
                break
            found.update(part)
            yield part
        if received != size or found.hexdigest() != digest:
            raise InvalidInput(
                f"the content is not the {size} bytes with the SHA-256 {digest}: send it again"
            )


class OpenUploads:
    """The most recently used uploads; others are read back when they are asked for."""

    def __init__(self, db: Database, blobs: BlobStore) -> None:
        """None yet."""
        self._db = db
        self._blobs = blobs
        self._uploads: Lru[str, OpenUpload] = Lru(REMEMBERED_FILES)

    async def find(self, upload_id: str) -> OpenUpload:
        """An upload that this node or another one began. Raises `NotFound`."""
        return self._uploads.get(upload_id) or await self._recall(upload_id)

    def remember(self, upload_id: str, upload: OpenUpload) -> None:
        """Keep an upload at hand."""
        self._uploads.put(upload_id, upload, cost=len(upload.sizes))

    def forget(self, upload_id: str) -> None:
        """Drop an upload that is no more."""
        self._uploads.drop(upload_id)

    async def _recall(self, upload_id: str) -> OpenUpload:
        row, worker = await self._db.read(queries.find_upload, upload_id)
        key = manifest_key(row.account_id, row.request["digest"])
        data = b"".join([part async for part in self._blobs.get(key)])
        upload = OpenUpload(
            account_id=row.account_id,
            build_uuid=row.build_uuid,
            worker=(worker.id, worker.name),
            sizes=(await asyncio.to_thread(Manifest.from_json, data)).sizes,
            present=set(),
        )
        self.remember(upload_id, upload)
        return upload
