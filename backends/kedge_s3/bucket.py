"""Single requests to one bucket. They block."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, ResponseStreamingError

from kedge import BlobDamaged, BlobInfo, BlobNotFound, StoreRefused, StoreUnavailable
from kedge_s3.checks import SINGLE, Check, etag_of_parts, md5, md5_of
from kedge_s3.encryption import encryption_of
from kedge_s3.errors import status_of, translate, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from kedge_s3.client import Clients
    from kedge_s3.settings import S3Settings

#: how often bytes that arrive changed are sent again
SENDS = 3
PART_SIZE = "kedge-part-size"
DIGEST = "kedge-md5"
WRITER = "kedge-writer"
PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a blob, and what came with it."""

    data: bytes
    etag: str
    #: of the whole blob
    total: int
    check: Check | None
    #: the MD5 of `data`, if it was asked for
    digest: bytes | None


class BrokenOff(Exception):
    """The store began to answer and did not end."""


class Bucket:
    """The bucket, as far as it lies behind the prefix."""

    def __init__(self, settings: S3Settings, clients: Clients) -> None:
        """Keep the clients; nothing is asked yet."""
        self.name = settings.bucket
        self.prefix = settings.prefix
        self._client = clients.own
        self._encryption = encryption_of(settings)
        #: whether ETags are MD5s; known once the store was tried
        self.has_md5_etags = False

    def check(self) -> None:
        """Raise `StoreRefused` with the reason if the bucket cannot be used as the settings say."""
        with translated(self.name):
            self._client.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1)

    def put(self, key: str, body: bytes | IO[bytes], *, if_absent: bool = False) -> str:
        """Store a blob in one piece; return its ETag."""
        extra: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        writer = uuid4().hex
        metadata = {} if self.has_md5_etags else {DIGEST: md5_of(body).hex()}
        metadata |= {WRITER: writer} if if_absent else {}
        for left in reversed(range(SENDS)):
            try:
                answer = self._client.put_object(
                    Bucket=self.name,
                    Key=self.prefix + key,
                    Body=body,
                    Metadata=metadata,
                    **extra,
                    **self._encryption,
                )
                return answer["ETag"].strip('"')
            except (BotoCoreError, ClientError) as error:
                if if_absent and self._wrote(key, writer, error):
                    return ""
                self._raise_unless_changed(error, key, left)
        raise AssertionError("unreachable")

    def _raise_unless_changed(self, error: Exception, key: str, left: int) -> None:
        raised = translate(error, self.name, key)
        if not (left and isinstance(raised, BlobDamaged)):
            raise raised from error

    def _wrote(self, key: str, writer: str, error: Exception) -> bool:
        """Whether an answer that got lost had been a yes: then the second try finds the blob of the first."""
        if not isinstance(error, ClientError) or status_of(error) != 412:
            return False
        if not error.response.get("ResponseMetadata", {}).get("RetryAttempts"):
            return False
        with translated(self.name, key):
            found = self._client.head_object(Bucket=self.name, Key=self.prefix + key)
        return found["Metadata"].get(WRITER) == writer

    def begin(self, key: str, part_size: int) -> str:
        """Begin a blob of many parts; return the upload's id."""
        metadata = {PART_SIZE: str(part_size)} if self.has_md5_etags else {}
        with translated(self.name, key):
            return self._client.create_multipart_upload(
                Bucket=self.name, Key=self.prefix + key, Metadata=metadata, **self._encryption
            )["UploadId"]

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> str:
        """Store a part; return its ETag."""
        for left in reversed(range(SENDS)):
            try:
                answer = self._client.upload_part(
                    Bucket=self.name,
                    Key=self.prefix + key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=body,
                )
                return answer["ETag"].strip('"')
            except (BotoCoreError, ClientError) as error:
                self._raise_unless_changed(error, key, left)
        raise AssertionError("unreachable")

    def complete(self, key: str, upload: str, etags: Sequence[str], *, if_absent: bool = False) -> None:
        """Make one blob of the parts."""
        extra: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        parts: Any = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
        with translated(self.name, key):
            self._client.complete_multipart_upload(
                Bucket=self.name,
                Key=self.prefix + key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                **extra,
            )

    def join(self, key: str, upload: str, etags: Sequence[str], *, if_absent: bool = False) -> None:
        """As `complete`; it is no error if that was done before, and the answer was lost."""
        try:
            self.complete(key, upload, etags, if_absent=if_absent)
        except BlobNotFound as error:
            if not self._is_made_of(key, etags):
                raise StoreUnavailable(f"the upload of {key} was dropped; store it again") from error

    def _is_made_of(self, key: str, etags: Sequence[str]) -> bool:
        if not self.has_md5_etags or not all(map(SINGLE.fullmatch, etags)):
            return False
        try:
            return self.etag(key) == etag_of_parts([bytes.fromhex(etag) for etag in etags])
        except BlobNotFound:
            return False

    def abort(self, key: str, upload: str) -> None:
        """Drop the parts. It is no error if they are gone."""
        # S3 calls it NoSuchUpload, Swift NoSuchKey.
        with suppress(BlobNotFound), translated(self.name, key):
            self._client.abort_multipart_upload(Bucket=self.name, Key=self.prefix + key, UploadId=upload)

    def uploads(self, older_than: datetime) -> list[tuple[str, str]]:
        """Key and id of uploads that were begun before and never ended."""
        with translated(self.name):
            pages: Any = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.name, Prefix=self.prefix
            )
            return [
                (one["Key"].removeprefix(self.prefix), one["UploadId"])
                for page in pages
                for one in page.get("Uploads", [])
                if one["Initiated"] < older_than
            ]

    def get(self, key: str, start: int, end: int, hashed: bool = False) -> Piece | None:  # noqa: FBT001, FBT002
        """Bytes `start` to `end`, or as many as there are; None if there is nothing from `start` on."""
        try:
            answer = self._client.get_object(
                Bucket=self.name, Key=self.prefix + key, Range=f"bytes={start}-{end - 1}"
            )
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and status_of(error) == 416:
                return None
            raise translate(error, self.name, key) from error
        total = _total(answer.get("ContentRange"), answer["ContentLength"])
        if "ContentRange" not in answer and (start or total > end):
            raise StoreRefused(f"bucket {self.name}: the store does not know ranges")
        try:
            with closing(answer["Body"]) as body:
                data = body.read()
        except (ResponseStreamingError, IncompleteReadError, OSError) as error:
            raise BrokenOff from error
        if len(data) != min(end, total) - start:
            raise BlobDamaged(f"bucket {self.name}: {key} is shorter than the store says")
        check = self._check_of(answer, total)
        digest = md5(data) if hashed else None
        return Piece(data=data, etag=answer["ETag"], total=total, check=check, digest=digest)

    def _check_of(self, answer: Any, total: int) -> Check | None:
        """What a blob can be checked by; nothing if the store encrypts with keys that hide the MD5."""
        etag, metadata = answer["ETag"].strip('"'), answer["Metadata"]
        if DIGEST in metadata:
            return Check(metadata[DIGEST], None)
        if not self.has_md5_etags or str(answer.get("ServerSideEncryption", "")).startswith("aws:kms"):
            return None
        if SINGLE.fullmatch(etag):
            return Check(etag, None)
        part_size = metadata.get(PART_SIZE, "")
        is_ours = part_size.isdecimal() and etag.endswith(f"-{-(-total // max(int(part_size), 1))}")
        return Check(etag, int(part_size)) if is_ours else None

    def etag(self, key: str) -> str:
        """The ETag of a blob."""
        with translated(self.name, key):
            return self._client.head_object(Bucket=self.name, Key=self.prefix + key)["ETag"].strip('"')

    def require_encryption(self, key: str) -> None:
        """Raise `StoreRefused` if a blob is not encrypted as the settings say: some stores do not care."""
        wanted = self._encryption.get("ServerSideEncryption")
        with translated(self.name, key):
            found = self._client.head_object(Bucket=self.name, Key=self.prefix + key)
        if wanted is not None and found.get("ServerSideEncryption") != wanted:
            raise StoreRefused(
                f"bucket {self.name}: the store does not encrypt by {wanted}, though it was told to: "
                'set `encryption = "bucket"`, or set the store up for it'
            )

    def stat(self, key: str) -> BlobInfo:
        """Describe a blob."""
        try:
            found = self._client.head_object(Bucket=self.name, Key=self.prefix + key)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and status_of(error) == 403:
                self.check()  # an answer without a body tells no reason; this one does
            raise translate(error, self.name, key) from error
        return BlobInfo(key=key, size=found["ContentLength"], modified_on=found["LastModified"])

    def pages(self, prefix: str) -> Iterator[list[tuple[str, int, datetime]]]:
        """Keys, sizes and times below a prefix, page by page."""
        asked: dict[str, Any] = {"Bucket": self.name, "Prefix": self.prefix + prefix, "MaxKeys": PAGE}
        while True:
            with translated(self.name):
                page: Any = self._client.list_objects_v2(**asked)
            yield [
                (one["Key"].removeprefix(self.prefix), one["Size"], one["LastModified"])
                for one in page.get("Contents", [])
            ]
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """Remove a blob."""
        with translated(self.name, key):
            self._client.delete_object(Bucket=self.name, Key=self.prefix + key)


def _total(content_range: str | None, length: int) -> int:
    return int(content_range.rpartition("/")[2]) if content_range else length
