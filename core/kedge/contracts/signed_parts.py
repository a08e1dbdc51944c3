"""Blobs that others store part by part."""

from __future__ import annotations

from datetime import timedelta  # noqa: TC003  (part of the public signatures)
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.contracts.blobs import BlobInfo, PresignedRequest


class SignedParts(Protocol):
    """Lets others store a blob straight, by a presigned request for each of its parts, while they make it.

    All parts but the last have one size. Nobody sees any of it before it is joined. Methods may be called
    concurrently, and raise what those of `BlobStore` do.
    """

    def size_for(self, most: int) -> int:
        """How large to make the parts of a blob that comes to `most` bytes at most."""
        ...

    async def begin(self, key: str, part_size: int) -> str:
        """Begin a blob in parts of this size; return the id of the upload."""
        ...

    async def presign(
        self, key: str, upload: str, number: int, *, expires: timedelta, size: int, md5: bytes
    ) -> PresignedRequest:
        """Return the `PUT` by which part `number` (from 1 on) is sent: these bytes, and no others.

        The same part may be sent again; the last one counts. The store's answer has a header `ETag`.
        """
        ...

    async def join(self, key: str, upload: str, etags: Sequence[str]) -> BlobInfo:
        """Make the blob of its parts, in order; `etags` are what the store has answered to each of them.

        Replaces what was there. Raises `InvalidInput` if these are not the parts that were sent. A second
        call for the same parts changes nothing.
        """
        ...

    async def drop(self, key: str, upload: str) -> None:
        """Forget an upload and its parts. It is no error if it is gone, or was joined: the blob stays.

        What nobody joins or drops, such as that of a node that died, the store clears away by itself.
        """
        ...
