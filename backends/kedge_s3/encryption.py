"""How blobs are to be encrypted at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge_s3.settings import S3Settings

HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


def encryption_of(settings: S3Settings) -> dict[str, Any]:
    """As boto3 wants to be told with each blob; nothing where it is left to the bucket."""
    wanted: dict[str, Any] = {}
    if settings.encryption != "bucket":
        wanted["ServerSideEncryption"] = settings.encryption
    if settings.kms_key is not None:
        wanted["SSEKMSKeyId"] = settings.kms_key
    return wanted


def encryption_headers(wanted: dict[str, Any]) -> dict[str, str]:
    """The same as headers of a request."""
    return {HEADERS[name]: value for name, value in wanted.items()}
