"""What is cleared away."""

from __future__ import annotations

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class UnneededVersionShape(TypedDict):
    """A version that no rule keeps."""

    id: str
    worker: str
    number: int
    created_on: str | None


class UnneededBlobsShape(TypedDict):
    """What nothing needs of one kind. `trouble` tells why no more is known of it."""

    kind: str
    count: int
    size: int
    trouble: str | None


class CleanupShape(TypedDict):
    """What is cleared away."""

    versions: list[UnneededVersionShape]
    blobs: list[UnneededBlobsShape]
