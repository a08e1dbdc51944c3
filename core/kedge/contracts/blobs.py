"""The seam behind which files of any size are kept by key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta  # noqa: TC003  (part of the public signatures)
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    from pydantic import BaseModel

    from kedge.contracts.host import Host
    from kedge.contracts.signed_parts import SignedParts


KEY = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)
LONGEST_KEY = 512
LONGEST_PART = 200


def check_blob_key(key: str) -> None:
    """Raise `InvalidInput` for what is no key of a blob. For those who write a `BlobStore`."""
    if len(key) > LONGEST_KEY or not KEY.fullmatch(key):
        raise InvalidInput(f"{key[:80]!r} is no key of a blob")
    if max(map(len, key.split("/"))) > LONGEST_PART:
        raise InvalidInput(f"{key[:80]!r} has a part of more than {LONGEST_PART} characters")


@dataclass(frozen=True, kw_only=True)
class BlobInfo:
    """What is known of a stored blob."""

    key: str
    size: int
    #: by the store's clock, to the second; two that differ in this alone are equal
    modified_on: datetime = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class PresignedRequest:
    """A request that whoever holds it may make once or often until it expires, with no other credential.

    `headers` are part of what was signed: send every one of them exactly as it stands. The URL is a
    secret; it does not show in a `repr`.
    """

    method: Literal["GET", "PUT"]
    url: str = field(repr=False)
    headers: Mapping[str, str]


@runtime_checkable
class BlobStore(Protocol):
    """Immutable-ish byte strings by key. Registered as a class by `kedge_register_blobs`.

    A key is 1 to 512 characters of `a-z A-Z 0-9 . _ - /`, with no empty, `.` or `..` part and none of
    more than 200; anything else raises `InvalidInput`. All methods may be called concurrently; a reader
    sees a blob whole or not at all. Memory does not grow with the size of a blob.

    Passing faults are tried again with growing pauses. Then every method raises `StoreUnavailable` (gone,
    overloaded, full: the same call may work later) or `StoreRefused` (bucket, rights, clock: an operator
    has to mend it).
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    #: whether every node sees these blobs; False for files of one node
    shared: bool

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    async def open(self) -> None:
        """Make ready. Called once, before anything else. Raises `StoreRefused` for what cannot work.

        A store that is only away for now does not keep a node from starting.
        """
        ...

    @property
    def excludes(self) -> bool:
        """Whether `if_absent` holds between nodes. If not, it holds within this process alone.

        Known once open. A store without conditional writes says so in the node's log.
        """
        ...

    async def put(
        self, key: str, data: bytes | Path | AsyncIterable[bytes], *, if_absent: bool = False
    ) -> BlobInfo:
        """Store `data` whole under `key`, or nothing at all if it fails or is cancelled.

        A `Path` is a local file, read and left as it is. Replaces what was there, unless `if_absent`:
        then raises `Conflict` if the key exists, and of several concurrent calls exactly one wins (see
        `excludes`). What arrives is checked against a checksum of what was sent: `BlobDamaged` if they
        still differ after trying again.
        """
        ...

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes `start` to `end` (exclusive; `None`: to the end). Raises `BlobNotFound`.

        A blob read whole is checked against the checksum it was stored with, and any part for being as
        long as it should be. `BlobDamaged` may come after bytes were yielded, but before the end: what was
        read to its end is right. `Conflict` if a large blob is replaced while it is read.
        """
        ...

    async def stat(self, key: str) -> BlobInfo:
        """Describe a blob. Raises `BlobNotFound`."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix`, ordered by key."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a blob. A missing one is no error."""
        ...

    async def presign(
        self,
        key: str,
        method: Literal["GET", "PUT"],
        *,
        expires: timedelta,
        size: int | None = None,
        md5: bytes | None = None,
    ) -> PresignedRequest | None:
        """Return a request that gives access to this key alone for a while, or `None` if the store cannot.

        A `PUT` may be bound to a `size` and to the MD5 of its bytes: the store refuses any other body.
        Where there is `None`, let the bytes pass through `put` and `get`. Files of a disk have no URL.
        """
        ...

    @property
    def signed_parts(self) -> SignedParts | None:
        """By which others store large blobs part by part, or `None` if the store cannot. Known once open."""
        ...

    async def close(self) -> None:
        """Let go of every resource."""
        ...
