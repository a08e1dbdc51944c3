"""Whether of several writers at one moment one alone wins: some stores look first and write then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

from kedge import Conflict

if TYPE_CHECKING:
    from kedge_s3.bucket import Bucket

WRITERS = 4
#: chance may spare a store once; each is as long as one request
RACES = 4
BODY = b"?"


def has_one_winner(bucket: Bucket, key: str) -> bool:
    """Let writers race for fresh keys; whether each time just one was told that it won.

    A `no` is certain; a `yes` says that nothing spoke against it.
    """
    with ThreadPoolExecutor(WRITERS) as pool:
        return all(_race(bucket, f"{key}-{number}", pool) for number in range(RACES))


def _race(bucket: Bucket, key: str, pool: ThreadPoolExecutor) -> bool:
    start = Barrier(WRITERS)

    def write(_: int) -> bool:
        start.wait()
        try:
            bucket.put(key, BODY, if_absent=True)
        except Conflict:
            return False
        return True

    try:
        return sum(pool.map(write, range(WRITERS))) == 1
    finally:
        bucket.delete(key)
