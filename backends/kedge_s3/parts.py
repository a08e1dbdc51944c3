"""Blobs that others store part by part, straight to the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kedge import BlobInfo, InvalidInput, check_blob_key
from kedge_s3.settings import LEAST_PART, MOST_PARTS
from kedge_s3.signing import check_lifetime
from kedge_s3.sources import part_size_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from kedge import PresignedRequest
    from kedge_s3.bucket import Bucket
    from kedge_s3.signing import Signer
    from kedge_s3.threads import Threads


class S3Parts:
    """Uploads of many parts, which the store keeps apart until they are joined."""

    def __init__(self, bucket: Bucket, signer: Signer, threads: Threads) -> None:
        """Nothing is begun yet."""
        self._bucket = bucket
        self._signer = signer
        self._threads = threads

    def size_for(self, most: int) -> int:
        """The least that every store takes, for whoever sends them has to hold some of them."""
        return part_size_for(most, LEAST_PART)

    async def begin(self, key: str, part_size: int) -> str:
        """Begin a blob; what is never joined goes by `keep_sweeping`."""
        check_blob_key(key)
        return await self._threads.run_to_end(self._bucket.begin, key, part_size)

    async def presign(
        self, key: str, upload: str, number: int, *, expires: timedelta, size: int, md5: bytes
    ) -> PresignedRequest:
        """Sign one part."""
        check_blob_key(key)
        if not 1 <= number <= MOST_PARTS or size < 1:
            raise InvalidInput(f"a part has a number of 1 to {MOST_PARTS}, and one byte at least")
        check_lifetime(expires)

        def sign() -> PresignedRequest:
            return self._signer.part(key, upload, number, expires=expires, size=size, md5=md5)

        return await self._threads.run(sign)

    async def join(self, key: str, upload: str, etags: Sequence[str]) -> BlobInfo:
        """Make one blob of the parts."""
        check_blob_key(key)
        if not etags:
            raise InvalidInput("a blob has one part at least")
        await self._threads.run_to_end(self._bucket.join, key, upload, [etag.strip('"') for etag in etags])
        found = await self._threads.run(self._bucket.stat, key)
        return BlobInfo(key=key, size=found.size, modified_on=datetime.now(UTC))

    async def drop(self, key: str, upload: str) -> None:
        """Forget the parts."""
        check_blob_key(key)
        await self._threads.run_to_end(self._bucket.abort, key, upload)
