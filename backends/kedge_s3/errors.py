"""What botocore raises, as Kedge's errors: told apart by what is to be done about them."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  (botocore's own, which is no OSError)
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    SSLError,
)

from kedge import (
    BlobDamaged,
    BlobNotFound,
    Conflict,
    InvalidInput,
    KedgeError,
    StoreRefused,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSING = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
#: these are written once more under another name when one side is behind a proxy or an older version
CHANGED_UNDERWAY = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
}
HELD_UP = {"SlowDown", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "Throttling"}
#: the parts that were to be joined are not those that were sent
OTHER_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
IN_THE_WAY = {"ConditionalRequestConflict", "OperationAborted"}
ADVICE = {
    "NoSuchBucket": "the bucket does not exist: create it, or set `bucket`",
    "InvalidBucketName": "that is no name of a bucket: set `bucket`",
    "InvalidAccessKeyId": "the store does not know this access key: set `access_key` and `secret_key`",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: set `secret_key`",
    "AccessDenied": "these credentials may not do this: grant them the rights that the docs list",
    "RequestTimeTooSkewed": "this machine's clock differs from the store's: set it right, with NTP for one",
    "ExpiredToken": "the session token has expired: give credentials that are renewed",
    "InvalidToken": "the session token is not valid: set `session_token`, or leave it away",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set `region`",
    "PermanentRedirect": "the bucket is at another endpoint: set `region` and `endpoint`",
    "NotImplemented": "the store does not know this kind of request",
    "QuotaExceeded": "the quota is used up: delete something or raise it",
    "EntityTooLarge": "it is larger than the store takes",
}
BY_STATUS = {403: "AccessDenied", 301: "PermanentRedirect"}


def code_of(error: ClientError) -> str:
    """The store's own name for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status of the answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: Exception, bucket: str, key: str) -> KedgeError:
    """Kedge's error for what botocore raised. Nothing of what was signed goes into a message."""
    if isinstance(error, ClientError):
        return _translate_answer(error, bucket, key)
    if isinstance(error, SSLError) and UNTRUSTED in str(error):
        return StoreRefused(
            f"bucket {bucket}: the store's certificate is not trusted: set `ca_file`, or renew it"
        )
    if isinstance(error, PASSING):
        return StoreUnavailable(f"bucket {bucket}: the store does not answer ({type(error).__name__})")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return StoreUnavailable("there is no room for a temporary file: free some space")
    return StoreRefused(f"bucket {bucket}: {error}")


def _translate_answer(error: ClientError, bucket: str, key: str) -> KedgeError:
    code, status = code_of(error), status_of(error)
    if code in CHANGED_UNDERWAY:
        return BlobDamaged(f"bucket {bucket}: {key} arrived with other bytes than were sent ({code})")
    if code == "PreconditionFailed" or status == 412:
        return Conflict(f"the blob {key} is there already")
    if code in OTHER_PARTS:
        return InvalidInput(f"{key}: these are not the parts that were sent ({code})")
    if code in HELD_UP or code in IN_THE_WAY or status >= 500 or status == 429:
        return StoreUnavailable(f"bucket {bucket}: the store cannot serve just now ({code or status})")
    if code != "NoSuchBucket" and status == 404:
        return BlobNotFound(f"there is no blob {key}")
    advice = ADVICE.get(code) or ADVICE.get(BY_STATUS.get(status, ""), "the store refuses this")
    return StoreRefused(f"bucket {bucket}: {advice} ({code or status})")


@contextmanager
def translated(bucket: str, key: str = "") -> Iterator[None]:
    """Raise Kedge's errors in place of botocore's."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, bucket, key) from error
