"""The seam behind which files of any size are kept by key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta  # noqa: TC003  (part of the public signatures)
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from pydantic import BaseModel

    from kedge.contracts.host import Host


@dataclass(frozen=True, kw_only=True)
class BlobInfo:
    """What is known of a stored blob."""

    key: str
    size: int
    modified_on: datetime


@runtime_checkable
class BlobStore(Protocol):
    """Immutable-ish byte strings by key. Registered as a class by `kedge_register_blobs`.

    A key is 1 to 512 characters of `a-z A-Z 0-9 . _ - /`, with no empty, `.` or `..` part and none of
    more than 200; anything else raises `InvalidInput`. All methods may be called concurrently; a reader
    sees a blob whole or not at all.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    async def open(self) -> None:
        """Make ready. Called once, before anything else."""
        ...

    async def put(
        self, key: str, data: bytes | Path | AsyncIterable[bytes], *, if_absent: bool = False
    ) -> BlobInfo:
        """Store `data` whole under `key`, or nothing at all if it fails or is cancelled.

        A `Path` is a local file, read and left as it is. Replaces what was there, unless `if_absent`:
        then raises `Conflict` if the key exists, and of several concurrent calls exactly one wins.
        """
        ...

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes `start` to `end` (exclusive; `None`: to the end). Raises `BlobNotFound`."""
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

    async def presign(self, key: str, method: Literal["GET", "PUT"], *, expires: timedelta) -> str | None:
        """Return a URL that gives access to this key alone for a while, or `None` if the store cannot."""
        ...

    async def close(self) -> None:
        """Let go of every resource."""
        ...
