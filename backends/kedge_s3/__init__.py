"""Blobs on S3, R2 and whatever else speaks S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge import BlobStore


@hookimpl
def kedge_register_blobs() -> Sequence[type[BlobStore]]:
    """Objects in one bucket."""
    from kedge_s3.blobs import S3Blobs  # noqa: PLC0415  (loaded only if a config names it)

    return [S3Blobs]
