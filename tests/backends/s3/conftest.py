"""Real stores that speak S3, and stores over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from tests.backends.s3.proxy import Spoiler

from kedge.testing.fake_host import FakeHost
from kedge_s3 import bucket
from kedge_s3.blobs import S3Blobs
from kedge_s3.settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from kedge.testing.ceph import Gateway


class Place:
    """A bucket of its own in some store, and what is in it as others see it."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, folder: Path) -> None:
        self.endpoint = endpoint
        self.bucket = f"kedge-{uuid4()}"
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "access").write_text(f"{access_key}\n")
        (folder / "secret").write_text(f"{secret_key}\n")
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                request_checksum_calculation="when_required", response_checksum_validation="when_required"
            ),
        )
        self.client.create_bucket(Bucket=self.bucket)

    def settings(self, **changed: Any) -> S3Settings:
        return S3Settings.model_validate(
            {
                "bucket": self.bucket,
                "endpoint": self.endpoint,
                "region": "us-east-1",
                "access_key": "file:access",
                "secret_key": "file:secret",
                "part_size": "5 MiB",
            }
            | changed
        )

    async def open(self, **changed: Any) -> S3Blobs:
        store = S3Blobs(self.settings(**changed), FakeHost(self.folder))
        await store.open()
        return store

    def keys(self) -> list[str]:
        """Every key in the bucket, whoever put it there."""
        found: Any = self.client.list_objects_v2(Bucket=self.bucket)
        return [one["Key"] for one in found.get("Contents", [])]

    def uploads(self) -> list[str]:
        """Keys of uploads that were begun and not ended."""
        found: Any = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [one["Key"] for one in found.get("Uploads", [])]


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of a few hundred blobs comes in several pages."""
    monkeypatch.setattr(bucket, "PAGE", 100)


@pytest.fixture
def place(ceph: Gateway, tmp_path: Path) -> Place:
    """A bucket on Ceph."""
    return Place(ceph.endpoint, ceph.access_key, ceph.secret_key, tmp_path / "s3")


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Opens stores and closes them after the test."""
    stores: list[S3Blobs] = []

    async def open_one(place: Place, **changed: Any) -> S3Blobs:
        stores.append(await place.open(**changed))
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


class Damage:
    """Puts a spoiler before a store; `back` ends the harm."""

    def __init__(self) -> None:
        self.spoilers: list[Spoiler] = []

    def __call__(self, endpoint: str, harm: str) -> str:
        self.spoilers.append(Spoiler(endpoint, harm))
        return self.spoilers[-1].endpoint

    def harm(self, harm: str, only: str = "") -> None:
        for spoiler in self.spoilers:
            spoiler.harm, spoiler.only = harm, only

    def back(self) -> None:
        self.harm("")


@pytest.fixture
def damage() -> Iterator[Damage]:
    """Spoils what passes between a store and its client."""
    made = Damage()
    yield made
    for spoiler in made.spoilers:
        spoiler.close()
