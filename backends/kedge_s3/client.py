"""boto3's clients, made as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from ssl import create_default_context
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from kedge import StoreRefused
from kedge_s3.signing import cover

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from kedge import Host
    from kedge_s3.settings import S3Settings


@dataclass(frozen=True, kw_only=True)
class Clients:
    """One that works, and one that signs what others will send to where they reach the store."""

    own: S3Client
    presigning: S3Client


def make_clients(settings: S3Settings, host: Host) -> Clients:
    """Read the credentials and make the clients. Slow: boto3 loads its description of S3."""
    session = boto3.Session(
        profile_name=settings.profile, region_name=settings.region, **_credentials(settings, host)
    )
    # AWS finds a bucket from anywhere; other stores want a region to be named, and take any.
    region = session.region_name or "us-east-1"

    verify = None if settings.ca_file is None else _checked(settings.ca_file)

    def client(endpoint: str | None) -> S3Client:
        return session.client(
            "s3", region_name=region, endpoint_url=endpoint, verify=verify, config=_config(settings)
        )

    clients = Clients(
        own=client(settings.endpoint), presigning=client(settings.public_endpoint or settings.endpoint)
    )
    for one in (clients.own, clients.presigning):
        one.meta.events.register("before-sign.s3", cover)
    return clients


def _checked(ca_file: Path) -> str:
    try:
        create_default_context(cafile=ca_file)
    except OSError as error:
        raise StoreRefused(f"blobs.s3.ca_file: {ca_file} holds no certificates ({error.strerror})") from error
    return str(ca_file)


def _credentials(settings: S3Settings, host: Host) -> dict[str, Any]:
    named = {
        "aws_access_key_id": settings.access_key,
        "aws_secret_access_key": settings.secret_key,
        "aws_session_token": settings.session_token,
    }
    return {name: host.secret(ref) for name, ref in named.items() if ref is not None}


def _config(settings: S3Settings) -> Config:
    return Config(
        signature_version="s3v4",
        # The signature covers a SHA-256 of the body, also under TLS: so a store takes no other bytes than
        # were sent. It is quicker to make than the MD5 of Content-MD5, and every store has to check it.
        s3={"addressing_style": settings.addressing, "payload_signing_enabled": True},
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.connections,
        tcp_keepalive=True,
        # The newer checksum headers are refused by some (R2, older Ceph), or make them store the framing
        # as content.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra="kedge",
    )
