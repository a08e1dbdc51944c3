"""What builds keep for the next ones."""

from __future__ import annotations

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class CacheDeclaration(TypedDict):
    """Folders that builds keep for the next ones."""

    name: str
    paths: list[str]
    key: str | None
    restore_keys: list[str]


class CacheShape(TypedDict):
    """What a build has kept. `tree_bytes` is its size unpacked."""

    worker: str
    name: str
    key: str
    branch: str
    size: int
    tree_bytes: int
    file_count: int
    build_uuid: str
    created_on: str | None
    read_on: str | None


class TransferShape(TypedDict):
    """A request that a store has signed: the URL is a secret, and every header is sent as it stands."""

    url: str
    headers: dict[str, str]


class HitShape(TypedDict):
    """A cache that a build may restore. `get` is null where its bytes come through Kedge."""

    id: str
    key: str
    branch: str
    size: int
    sha256: str
    fingerprint: str
    tree_bytes: int
    file_count: int
    get: TransferShape | None


class LookupShape(TypedDict):
    """The cache that fits best, if any does."""

    hit: HitShape | None


class KnownShape(TypedDict):
    """Whether a tree is kept already."""

    known: bool


class UploadShape(TypedDict):
    """An archive that is announced. `put` is null where its bytes go through Kedge."""

    id: str
    put: TransferShape | None


class PartedUploadShape(TypedDict):
    """An archive that is sent in parts: all but the last have this size."""

    id: str
    part_size: int


class PartedShape(TypedDict):
    """`upload` is null where an archive is announced once it is packed."""

    upload: PartedUploadShape | None


class PartShape(TypedDict):
    """How a part is sent."""

    put: TransferShape
