"""Uploads that were begun and never ended: a killed node leaves them, and the store charges for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from kedge import KedgeError

if TYPE_CHECKING:
    from kedge_s3.bucket import Bucket
    from kedge_s3.threads import Threads

log = structlog.get_logger("s3")

#: no upload takes so long
STALE_AFTER = timedelta(days=1)
SWEEP_SECONDS = 6 * 3600.0


async def keep_sweeping(bucket: Bucket, threads: Threads) -> None:
    """Drop stale uploads now and then, for ever."""
    while True:
        try:
            await sweep(bucket, threads, older_than=datetime.now(UTC) - STALE_AFTER)
        except KedgeError as error:
            log.warning("stale uploads could not be dropped", bucket=bucket.name, reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(bucket: Bucket, threads: Threads, *, older_than: datetime) -> int:
    """Drop the uploads that were begun before; tell how many."""
    stale = await threads.run(bucket.uploads, older_than)
    for key, upload in stale:
        await threads.run_to_end(bucket.abort, key, upload)
    return len(stale)
