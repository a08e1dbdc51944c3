"""Requests that are signed here and sent by others. The store is not asked."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from kedge import InvalidInput, PresignedRequest
from kedge_s3.checks import content_md5
from kedge_s3.encryption import encryption_headers, encryption_of
from kedge_s3.errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.awsrequest import AWSRequest
    from mypy_boto3_s3 import S3Client

    from kedge_s3.settings import S3Settings

NOTHING: Mapping[str, str] = MappingProxyType({})
#: a condition that no copy fulfils, and that means nothing to a plain PUT; the second is Ceph's name for it
NO_COPIES: dict[str, str] = dict.fromkeys(("x-amz-copy-source-if-match", "x-amz-copy-if-match"), '"none"')

LONGEST = timedelta(days=7)

#: what the signature is to cover besides
_covered: ContextVar[Mapping[str, str]] = ContextVar("covered", default=NOTHING)


def check_lifetime(expires: timedelta) -> None:
    """Raise `InvalidInput` for a time that no request can be good for."""
    if not timedelta(seconds=1) <= expires <= LONGEST:
        raise InvalidInput("a presigned request is good for a second at least and seven days at most")


def cover(request: AWSRequest, **_: object) -> None:
    """Let the signature cover what boto3 has no name for. For its event `before-sign`."""
    for name, value in _covered.get().items():
        request.headers[name] = value


class Signer:
    """Signs requests for single blobs of a bucket, and for parts of them. May be used by many threads.

    Some stores (Ceph) heed headers that were not signed: whoever may store one blob could have any other
    copied there, and read it. Against that a signature may cover a guard, which other stores may refuse.
    """

    def __init__(self, settings: S3Settings, client: S3Client) -> None:
        """Sign as `client` does, for the endpoint that it knows."""
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._client = client
        self._encryption = encryption_of(settings)

    def blob(
        self,
        key: str,
        method: Literal["GET", "PUT"],
        *,
        expires: timedelta,
        size: int | None = None,
        md5: bytes | None = None,
        guard: Mapping[str, str] = NOTHING,
    ) -> PresignedRequest:
        """A request for a whole blob."""
        if method == "GET":
            return self._sign("get_object", key, {}, {}, expires)
        named, headers = _binding(size, md5)
        headers |= encryption_headers(self._encryption)
        with _covering(guard):
            return self._sign("put_object", key, named | self._encryption, {**headers, **guard}, expires)

    def part(
        self, key: str, upload: str, number: int, *, expires: timedelta, size: int, md5: bytes
    ) -> PresignedRequest:
        """A request to store a part. It needs no guard: no store takes a body where it is to copy a part."""
        named, headers = _binding(size, md5)
        named |= {"UploadId": upload, "PartNumber": number}
        return self._sign("upload_part", key, named, headers, expires)

    def _sign(
        self, operation: str, key: str, named: dict[str, Any], headers: dict[str, str], expires: timedelta
    ) -> PresignedRequest:
        with translated(self._bucket, key):
            url = self._client.generate_presigned_url(
                operation,
                Params={"Bucket": self._bucket, "Key": self._prefix + key, **named},
                ExpiresIn=int(expires.total_seconds()),
            )
        method: Literal["GET", "PUT"] = "GET" if operation == "get_object" else "PUT"
        return PresignedRequest(method=method, url=url, headers=headers)


@contextmanager
def _covering(headers: Mapping[str, str]) -> Iterator[None]:
    restore = _covered.set(headers)
    try:
        yield
    finally:
        _covered.reset(restore)


def _binding(size: int | None, md5: bytes | None) -> tuple[dict[str, Any], dict[str, str]]:
    """What binds a request to its body: for boto3, and as headers."""
    named: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if size is not None:
        named["ContentLength"], headers["Content-Length"] = size, str(size)
    if md5 is not None:
        named["ContentMD5"] = headers["Content-MD5"] = content_md5(md5)
    return named, headers
