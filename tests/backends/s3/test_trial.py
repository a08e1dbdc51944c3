"""What a store can do is seen when it opens, whatever it says."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from tests.backends.s3.conftest import Place

from kedge.testing.blobs import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MINUTE = timedelta(minutes=1)
OWN = b"own"
BOUND = {"size": len(OWN), "md5": hashlib.md5(OWN).digest()}  # noqa: S324  (S3's)


@pytest.fixture
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def send(request: Any, content: bytes = b"", **more: str) -> httpx.Response:
    return httpx.put(request.url, content=content, headers={**request.headers, **more}, trust_env=False)


async def test_a_store_that_looks_first_and_writes_then_is_seen_not_to_exclude(
    moto: str, tmp_path: Path, opened: Callable[..., Any], damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(moto, "access", "secret", tmp_path / "s3")
    place.endpoint = damage(moto, "look first")
    store = await opened(place)
    assert store.excludes is False
    assert "no conditional writes" in capsys.readouterr().out
    assert place.keys() == []


async def test_a_store_that_lets_one_writer_win_is_seen_to_exclude(
    place: Any, opened: Callable[..., Any]
) -> None:
    assert (await opened(place)).excludes is True
    assert (place.keys(), place.uploads()) == ([], [])


async def test_a_store_that_takes_no_unsigned_headers_is_asked_for_no_guard(
    place: Any, opened: Callable[..., Any], damage: Any
) -> None:
    """AWS and R2 need none, and might refuse it."""
    store = await opened(place, endpoint=damage(place.endpoint, "strict"))
    put = await store.presign("key", "PUT", expires=MINUTE, **BOUND)
    assert not [name for name in put.headers if "copy" in name]
    assert send(put, OWN).status_code == 200
    assert await fetch(store, "key") == OWN
    upload = await store.signed_parts.begin("parts", 5_000_000)
    part = await store.signed_parts.presign("parts", upload, 1, expires=MINUTE, **BOUND)
    assert not [name for name in part.headers if "copy" in name]
    await store.signed_parts.join("parts", upload, [send(part, OWN).headers["ETag"]])
    assert await fetch(store, "parts") == OWN


async def test_who_may_store_a_part_cannot_have_another_blob_copied_there(
    place: Any, opened: Callable[..., Any]
) -> None:
    """Ceph copies for headers that nobody has signed."""
    store = await opened(place)
    await store.put("secret", b"own secret")
    upload = await store.signed_parts.begin("mine", 5_000_000)
    part = await store.signed_parts.presign("mine", upload, 1, expires=MINUTE, **BOUND)
    copy = {"x-amz-copy-source": f"/{place.bucket}/secret", "x-amz-copy-source-range": "bytes=0-2"}
    bare = {name: value for name, value in part.headers.items() if name != "Content-Length"}
    for headers, content in ((part.headers, OWN), (bare, b"")):
        assert send(replace(part, headers=headers), content, **copy).status_code // 100 == 4
    listed = place.client.list_parts(Bucket=place.bucket, Key="mine", UploadId=upload)
    assert "Parts" not in listed
    assert send(part, OWN).status_code == 200


async def test_a_store_that_copies_whatever_was_signed_gets_no_signed_requests(
    moto: str, tmp_path: Path, opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """moto looks at no signature at all."""
    store = await opened(Place(moto, "access", "secret", tmp_path / "s3"))
    assert await store.presign("key", "PUT", expires=MINUTE, **BOUND) is None
    assert store.signed_parts is None
    assert "do more than they were signed for" in capsys.readouterr().out


async def test_until_a_store_was_tried_requests_are_guarded(
    place: Any, opened: Callable[..., Any], damage: Any
) -> None:
    store = await opened(place, endpoint=damage(place.endpoint, "away"), attempts=1)
    put = await store.presign("key", "PUT", expires=MINUTE, **BOUND)
    assert [name for name in put.headers if "copy" in name]
    assert store.signed_parts is None
