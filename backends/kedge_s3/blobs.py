"""Blobs as objects of one bucket."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal
from weakref import WeakValueDictionary

import structlog

from kedge import (
    BlobInfo,
    BlobNotFound,
    Conflict,
    InvalidInput,
    StoreUnavailable,
    check_blob_key,
)
from kedge_s3.bucket import Bucket
from kedge_s3.client import make_clients
from kedge_s3.download import Downloads
from kedge_s3.parts import S3Parts
from kedge_s3.settings import S3Settings
from kedge_s3.signing import Signer, check_lifetime
from kedge_s3.signing_trial import CAREFUL
from kedge_s3.stale import keep_sweeping
from kedge_s3.threads import Threads
from kedge_s3.trial import try_out
from kedge_s3.upload import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator
    from pathlib import Path

    from pydantic import BaseModel

    from kedge import Host, PresignedRequest, SignedParts
    from kedge_s3.client import Clients
    from kedge_s3.trial import Abilities

    Page = list[tuple[str, int, datetime]]

log = structlog.get_logger("s3")


class S3Blobs:
    """An object for each blob, its key behind the prefix."""

    name: ClassVar[str] = "s3"
    Settings: ClassVar[type[BaseModel]] = S3Settings
    shared: bool = True

    _clients: Clients
    _bucket: Bucket
    _signer: Signer
    _downloads: Downloads

    def __init__(self, settings: S3Settings, host: Host) -> None:
        """Nothing is asked of the store yet."""
        self._settings = settings
        self._host = host
        self._threads = Threads(settings.connections)
        self._abilities: Abilities | None = None
        self._trial = asyncio.Lock()
        #: of the keys that are being stored here, where the store itself lets nobody wait
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See that the bucket can be used, and try out what the store can do."""
        await self._threads.run(self._connect)
        try:
            await self._threads.run(self._bucket.check)
            await self._find_abilities()
        except StoreUnavailable as error:
            log.warning("the blob store is away; this node starts all the same", reason=str(error))
        self._sweeping = asyncio.create_task(keep_sweeping(self._bucket, self._threads))

    def _connect(self) -> None:
        self._clients = make_clients(self._settings, self._host)
        self._bucket = Bucket(self._settings, self._clients)
        self._signer = Signer(self._settings, self._clients.presigning)
        self._downloads = Downloads(self._bucket, self._threads, self._settings)

    async def _find_abilities(self) -> Abilities:
        async with self._trial:
            if self._abilities is None:
                self._abilities = await self._threads.run_to_end(
                    try_out, self._bucket, self._settings, self._clients
                )
                self._bucket.has_md5_etags = self._abilities.md5_etags
        return self._abilities

    @property
    def excludes(self) -> bool:
        """Whether the store heeds conditions; until it could be tried, it does not."""
        return self._abilities is not None and self._abilities.conditional_put

    async def put(
        self, key: str, data: bytes | Path | AsyncIterable[bytes], *, if_absent: bool = False
    ) -> BlobInfo:
        """Store `data` whole under `key`, or nothing at all."""
        check_blob_key(key)
        abilities = self._abilities or await self._find_abilities()
        upload = Upload(self._bucket, self._threads, self._settings, abilities, key)
        if if_absent and not abilities.conditional_put:
            async with self._lock(key):
                await self._refuse_if_there(key)
                size = await upload.run(data, if_absent=False)
        else:
            size = await upload.run(data, if_absent=if_absent)
        return BlobInfo(key=key, size=size, modified_on=datetime.now(UTC))

    async def _refuse_if_there(self, key: str) -> None:
        with suppress(BlobNotFound):
            await self.stat(key)
            raise Conflict(f"the blob {key} is there already")

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes `start` to `end`; a blob of up to a mebibyte is one request."""
        check_blob_key(key)
        async with aclosing(self._downloads.read(key, start, end)) as pieces:
            async for data in pieces:
                yield data

    async def stat(self, key: str) -> BlobInfo:
        """Describe a blob."""
        check_blob_key(key)
        return await self._threads.run(self._bucket.stat, key)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix`, ordered by key; what is no blob is left out."""
        pages = self._bucket.pages(prefix)
        while (page := await self._threads.run(_next_of, pages)) is not None:
            for key, size, modified_on in page:
                with suppress(InvalidInput):
                    check_blob_key(key)
                    yield BlobInfo(key=key, size=size, modified_on=modified_on)

    async def delete(self, key: str) -> None:
        """Remove a blob."""
        check_blob_key(key)
        await self._threads.run_to_end(self._bucket.delete, key)

    async def presign(
        self,
        key: str,
        method: Literal["GET", "PUT"],
        *,
        expires: timedelta,
        size: int | None = None,
        md5: bytes | None = None,
    ) -> PresignedRequest | None:
        """Sign a request for this key alone."""
        check_blob_key(key)
        check_lifetime(expires)
        signing = self._abilities.signing if self._abilities else CAREFUL
        if not signing.blobs:
            return None
        sign = partial(self._signer.blob, key, method, expires=expires, size=size, md5=md5)
        return await self._threads.run(partial(sign, guard=signing.guard))

    @property
    def signed_parts(self) -> SignedParts | None:
        """Parts, if the store was seen to take signed ones."""
        if self._abilities is None or not self._abilities.signing.parts:
            return None
        return S3Parts(self._bucket, self._signer, self._threads)

    async def close(self) -> None:
        """Stop sweeping and let go of the threads."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        self._threads.close()


def _next_of(pages: Iterator[Page]) -> Page | None:
    return next(pages, None)
