"""What a store can do is tried, not believed: some take a condition and heed it not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from kedge import Conflict, StoreRefused
from kedge_s3.checks import etag_of_parts, md5
from kedge_s3.races import has_one_winner
from kedge_s3.signing_trial import SigningTrial

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_s3.bucket import Bucket
    from kedge_s3.client import Clients
    from kedge_s3.settings import S3Settings
    from kedge_s3.signing_trial import Signing

log = structlog.get_logger("s3")

#: no blob's key has a "+" in it
FOLDER = "+trial/"
BODY = b"Kedge tries what this store can do; this may be deleted.\n"


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a store was seen to do."""

    conditional_put: bool
    conditional_complete: bool
    md5_etags: bool
    signing: Signing


def try_out(bucket: Bucket, settings: S3Settings, clients: Clients) -> Abilities:
    """Write, write on condition, race, complete on condition, sign; clear up; tell what happened."""
    key = FOLDER + uuid4().hex
    wanted = settings.conditional_writes
    try:
        single = bucket.put(key, BODY)
        bucket.require_encryption(key)
        conditional_put = wanted == "yes"
        if wanted == "auto":
            conditional_put = _refuses(lambda: bucket.put(key, BODY, if_absent=True)) and has_one_winner(
                bucket, key
            )
        conditional_complete, joined = _try_parts(bucket, key, with_condition=wanted != "no")
        md5_etags = single == md5(BODY).hex() and joined == etag_of_parts([md5(BODY)])
        signing = SigningTrial(bucket, settings, clients, key).run()
    finally:
        bucket.delete(key)
    found = Abilities(
        conditional_put=conditional_put,
        conditional_complete=conditional_complete and conditional_put,
        md5_etags=md5_etags,
        signing=signing,
    )
    _tell(found, bucket.name)
    return found


def _try_parts(bucket: Bucket, key: str, *, with_condition: bool) -> tuple[bool, str]:
    """Whether a condition holds when parts are joined, and the ETag of a blob made of one part."""
    upload = bucket.begin(key, len(BODY))
    try:
        etags = [bucket.put_part(key, upload, 1, BODY)]
        holds = with_condition and _refuses(lambda: bucket.complete(key, upload, etags, if_absent=True))
        if holds or not with_condition:
            bucket.complete(key, upload, etags)
        # Asked for: some stores leave it out of their answer.
        return holds, bucket.etag(key)
    finally:
        bucket.abort(key, upload)


def _refuses(write: Callable[[], object]) -> bool:
    """Whether the store heeds a condition that does not hold."""
    try:
        write()
    except Conflict:
        return True
    except StoreRefused:  # it says itself that it knows no conditions
        return False
    return False


def _tell(found: Abilities, bucket: str) -> None:
    if not found.conditional_put:
        log.warning(
            "this store has no conditional writes: of several nodes that store the same key at one "
            "moment the last one wins, where one alone should; within one node it is one alone",
            bucket=bucket,
        )
    if not found.md5_etags:
        log.warning(
            "the ETags of this store are no checksums: blobs of many parts are checked on the way in, "
            "and for their length alone on the way out",
            bucket=bucket,
        )
