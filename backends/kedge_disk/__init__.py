"""Blobs and build logs on the local disk: the embedded default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge import BlobStore, LogStore


@hookimpl
def kedge_register_blobs() -> Sequence[type[BlobStore]]:
    """Files below the data dir."""
    from kedge_disk.blobs import DiskBlobs  # noqa: PLC0415  (loaded only if a config names it)

    return [DiskBlobs]


@hookimpl
def kedge_register_log_store() -> Sequence[type[LogStore]]:
    """Append-only files below the data dir, or rows of a database that many nodes share."""
    from kedge_disk.log_store import DiskLogs  # noqa: PLC0415  (as above)
    from kedge_disk.shared_logs import SharedLogs  # noqa: PLC0415  (as above)

    return [DiskLogs, SharedLogs]
