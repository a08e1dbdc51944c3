"""Whether a store heeds headers that nobody has signed, and what keeps it from doing so."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from ssl import create_default_context
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import structlog

from kedge import BlobNotFound
from kedge_s3.checks import md5
from kedge_s3.signing import NO_COPIES, NOTHING, Signer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge import PresignedRequest
    from kedge_s3.bucket import Bucket
    from kedge_s3.client import Clients
    from kedge_s3.settings import S3Settings

log = structlog.get_logger("s3")

LIFETIME = timedelta(minutes=5)
OWN = b"?"


@dataclass(frozen=True, kw_only=True)
class Signing:
    """What others may be given signed requests for, and what their signatures have to cover."""

    #: whether a single request can store a blob and nothing else
    blobs: bool = True
    #: whether parts can be stored so
    parts: bool = False
    guard: Mapping[str, str] = field(default_factory=lambda: NO_COPIES)


#: until it was tried
CAREFUL = Signing()


class SigningTrial:
    """Sends signed requests as others would, honest ones and others."""

    def __init__(self, bucket: Bucket, settings: S3Settings, clients: Clients, source: str) -> None:
        """`source` is the key of a blob that may be copied."""
        self._bucket = bucket
        self._signer = Signer(settings, clients.own)
        self._verify = create_default_context(cafile=settings.ca_file) if settings.ca_file else True
        self._source = source
        self._copying = {"x-amz-copy-source": quote(f"/{bucket.name}/{bucket.prefix}{source}")}

    def run(self) -> Signing:
        """Find out. Leaves nothing behind."""
        target = f"{self._source}-signed"
        try:
            heeds_unsigned = self._copies(target, NOTHING)
            guard = NO_COPIES if heeds_unsigned else NOTHING
            blobs = self._stores(target, guard) and not (heeds_unsigned and self._copies(target, guard))
            found = Signing(blobs=blobs, parts=blobs and self._stores_parts(target), guard=guard)
        except httpx.HTTPError as error:
            log.warning("signed requests could not be tried", bucket=self._bucket.name, reason=str(error))
            return CAREFUL
        finally:
            self._bucket.delete(target)
        if not found.blobs:
            log.warning(
                "this store lets signed requests do more than they were signed for, or refuses them: "
                "caches of builds pass through Kedge",
                bucket=self._bucket.name,
            )
        return found

    def _stores(self, key: str, guard: Mapping[str, str]) -> bool:
        put = self._signer.blob(key, "PUT", expires=LIFETIME, size=len(OWN), md5=md5(OWN), guard=guard)
        return self._send(put, OWN) == httpx.codes.OK and self._content(key) == OWN

    def _copies(self, key: str, guard: Mapping[str, str]) -> bool:
        put = self._signer.blob(key, "PUT", expires=LIFETIME, guard=guard)
        self._send(put, b"", self._copying)
        return self._content(key) == self._content(self._source)

    def _stores_parts(self, key: str) -> bool:
        upload = self._bucket.begin(key, len(OWN))
        try:
            put = self._signer.part(key, upload, 1, expires=LIFETIME, size=len(OWN), md5=md5(OWN))
            if self._send(put, OWN) != httpx.codes.OK:
                return False
            copying = self._copying | {"x-amz-copy-source-range": f"bytes=0-{len(OWN) - 1}"}
            return self._send(put, OWN, copying) != httpx.codes.OK
        finally:
            self._bucket.abort(key, upload)

    def _send(self, request: PresignedRequest, body: bytes, more: Mapping[str, str] = NOTHING) -> int:
        headers = {**request.headers, **more}
        sent = httpx.request(request.method, request.url, headers=headers, content=body, verify=self._verify)
        return sent.status_code

    def _content(self, key: str) -> bytes | None:
        try:
            piece = self._bucket.get(key, 0, 1024)
        except BlobNotFound:
            return None
        return None if piece is None else piece.data
