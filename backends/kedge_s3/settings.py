"""`[blobs.s3]`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kedge import AbsolutePath, Duration, SecretRef, Size

MIB = 1024 * 1024
#: of all stores: no part but the last may be smaller, and no blob may have more parts
LEAST_PART = 5 * MIB
MOST_PARTS = 10_000


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise ValueError('must be a URL such as "https://s3.example.com", with no user and no query')
    return text.rstrip("/")


def _prefix(text: str) -> str:
    if text.startswith("/") or "//" in text or not text.isascii() or not text.isprintable() or "+" in text:
        raise ValueError('must be ASCII text such as "kedge/", with no slash in front and no "+"')
    return text


Url = Annotated[str, AfterValidator(_url)]


class S3Settings(BaseModel):
    """`[blobs.s3]`. Without keys and profile, credentials come as they do for every AWS tool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(min_length=1, description="The bucket; it has to exist.")
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="", description='What stands before every key, such as "kedge/".'
    )
    region: str | None = Field(
        default=None, description='The bucket\'s region; "auto" for R2. As AWS tools find it if not given.'
    )
    endpoint: Url | None = Field(default=None, description="Where the store answers; AWS if not given.")
    public_endpoint: Url | None = Field(
        default=None, description="Where builds reach the store, if not at `endpoint`."
    )
    ca_file: AbsolutePath | None = Field(
        default=None, description="Certificates, as PEM, to trust the store by; the world's if not given."
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="Bucket in the path or in the host name; auto takes the host name on AWS alone.",
    )
    access_key: SecretRef | None = Field(default=None, description='"env:NAME" or "file:PATH".')
    secret_key: SecretRef | None = Field(default=None, description='"env:NAME" or "file:PATH".')
    session_token: SecretRef | None = Field(default=None, description='"env:NAME" or "file:PATH".')
    profile: str | None = Field(default=None, description="A profile of ~/.aws/config instead of keys.")
    encryption: Literal["bucket", "AES256", "aws:kms"] = Field(
        default="bucket", description="How the store encrypts at rest; bucket leaves it to the bucket."
    )
    kms_key: str | None = Field(default=None, description="Id or ARN of the key for aws:kms.")
    conditional_writes: Literal["auto", "yes", "no"] = Field(
        default="auto", description="Whether the store heeds If-None-Match; auto tries when it opens."
    )
    part_size: Size = Field(
        default=8 * MIB, ge=LEAST_PART, le=512 * MIB, description="Larger blobs travel in parts of this size."
    )
    parallel: int = Field(default=8, ge=1, le=64, description="Parts of one blob on their way at once.")
    connections: int = Field(default=32, ge=1, le=256, description="Requests on their way at once.")
    attempts: int = Field(default=5, ge=1, le=20, description="Tries of one request, with growing pauses.")
    connect_timeout: Annotated[Duration, Field(gt=0)] = Field(
        default=5.0, description="Time to get a connection."
    )
    read_timeout: Annotated[Duration, Field(gt=0)] = Field(
        default=30.0, description="The longest silence of the store."
    )

    @model_validator(mode="after")
    def _check(self) -> S3Settings:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together: give both or neither")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("session_token belongs to access_key and secret_key: give them too")
        if self.profile is not None and self.access_key is not None:
            raise ValueError("profile and access_key are two ways to sign: give one of them")
        if self.kms_key is not None and self.encryption != "aws:kms":
            raise ValueError('kms_key goes with encryption = "aws:kms"')
        return self
