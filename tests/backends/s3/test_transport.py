"""How a store is reached: by names of buckets, by TLS of its own, with its own encryption."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from tests.backends.s3.proxy import Spoiler
from tests.backends.s3.test_blobs import send

from kedge import StoreRefused
from kedge.cli.placement_demo.certificate import make_certificate
from kedge.testing.blobs import MEGABYTE, fetch, keys
from kedge.testing.ceph import KMS_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.backends.s3.conftest import Place

LARGE = b"\0\1\2\3" * (2 * MEGABYTE)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of localhost, with its key."""
    path = tmp_path / "localhost.pem"
    path.write_bytes(make_certificate("localhost"))
    return path


@pytest.fixture
def tls(place: Place, certificate: Path) -> Iterator[str]:
    """The store behind TLS of its own."""
    terminator = Spoiler(place.endpoint, "", certificate=certificate)
    yield terminator.endpoint
    terminator.close()


async def test_a_store_with_an_authority_of_its_own_is_trusted_by_its_file(
    place: Place, opened: Callable[..., Any], tls: str, certificate: Path
) -> None:
    store = await opened(place, endpoint=tls, ca_file=str(certificate))
    await store.put("small", b"data")
    await store.put("large", LARGE)
    assert await fetch(store, "small") == b"data"
    assert await fetch(store, "large") == LARGE


async def test_a_certificate_that_is_not_trusted_is_called_that_at_once(
    place: Place, opened: Callable[..., Any], tls: str, tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_bytes(make_certificate("localhost"))
    for changed in ({}, {"ca_file": str(tmp_path / "other.pem")}):
        with pytest.raises(StoreRefused, match="certificate is not trusted: set `ca_file`"):
            await opened(place, endpoint=tls, attempts=1, **changed)


async def test_a_file_that_holds_no_certificates_is_named(
    place: Place, opened: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "missing"):
        with pytest.raises(StoreRefused, match=f"{name} holds no certificates"):
            await opened(place, ca_file=str(tmp_path / name))
    with pytest.raises(ValidationError, match="absolute path"):
        place.settings(ca_file="ca.pem")


@pytest.fixture
def buckets_are_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a wildcard record would have it."""
    found = socket.getaddrinfo

    def find(host: Any, *rest: Any, **named: Any) -> Any:
        is_bucket = isinstance(host, str) and host.endswith(".localhost")
        return found("127.0.0.1" if is_bucket else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", find)


@pytest.mark.usefixtures("buckets_are_hosts")
async def test_a_bucket_is_found_by_its_host_name(place: Place, opened: Callable[..., Any]) -> None:
    port = place.endpoint.rpartition(":")[2]
    store = await opened(place, endpoint=f"http://localhost:{port}", addressing="virtual")
    await store.put("a/b", b"data")
    await store.put("large", LARGE)
    assert (await fetch(store, "a/b"), await fetch(store, "large")) == (b"data", LARGE)
    assert await keys(store) == ["a/b", "large"]
    put = await store.presign("by-url", "PUT", expires=timedelta(minutes=1))
    assert put.url.startswith(f"http://{place.bucket}.localhost:{port}/by-url?")
    assert send(put, b"text").status_code == 200
    assert await fetch(store, "by-url") == b"text"


async def test_a_store_that_takes_the_wish_for_encryption_and_does_nothing_is_refused(
    place: Place, opened: Callable[..., Any]
) -> None:
    with pytest.raises(StoreRefused, match="does not encrypt by AES256, though it was told to"):
        await opened(place, encryption="AES256")
    assert place.keys() == []


async def test_a_store_encrypts_as_it_is_told(place: Place, opened: Callable[..., Any]) -> None:
    store = await opened(place, encryption="aws:kms", kms_key=KMS_KEY)
    for key, data in (("small", b"data"), ("large", LARGE)):
        await store.put(key, data)
        assert await fetch(store, key) == data
        found = place.client.head_object(Bucket=place.bucket, Key=key)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)
    put = await store.presign("by-url", "PUT", expires=timedelta(minutes=1))
    assert send(replace(put, headers={}), b"text").status_code == 403
    assert send(put, b"text").status_code == 200
    found = place.client.head_object(Bucket=place.bucket, Key="by-url")
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)
