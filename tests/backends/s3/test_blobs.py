"""What S3 has beside the contract: parts, signatures, conditions, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kedge import (
    BlobDamaged,
    BlobNotFound,
    Conflict,
    InvalidInput,
    StoreRefused,
    StoreUnavailable,
)
from kedge.testing.blobs import MEGABYTE, broken, endless, fetch, keys, stream
from kedge_s3.stale import sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LARGE = b"".join(number.to_bytes(4, "big") for number in range(3 * MEGABYTE + 5))


async def trickle(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


# ---- parts


async def test_a_large_blob_travels_in_parts_and_comes_back_whole(
    place: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    store = await opened(place)
    source = tmp_path / "large"
    source.write_bytes(LARGE)
    for data in (LARGE, source, trickle(LARGE, 700_001), stream(LARGE)):
        assert (await store.put("large", data)).size == len(LARGE)
        assert place.client.head_object(Bucket=place.bucket, Key="large")["ETag"].endswith('-3"')
        assert await fetch(store, "large") == LARGE
    assert (
        await fetch(store, "large", start=5 * MEGABYTE - 3, end=11 * MEGABYTE + 1)
        == (LARGE[5 * MEGABYTE - 3 : 11 * MEGABYTE + 1])
    )
    assert place.uploads() == []


async def test_a_blob_of_exactly_one_part_is_one_request(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place)
    data = LARGE[: 5 * MEGABYTE]
    for source in (data, stream(data)):
        await store.put("part", source)
        etag = place.client.head_object(Bucket=place.bucket, Key="part")["ETag"]
        assert etag == f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324  (what S3 calls an ETag)
        assert await fetch(store, "part") == data


async def test_an_upload_that_fails_or_is_cancelled_leaves_no_parts(
    place: Any, opened: Callable[..., Any]
) -> None:
    store = await opened(place)
    with pytest.raises(ConnectionResetError):
        await store.put("large", broken(LARGE))
    arrived = asyncio.Event()
    put = asyncio.create_task(store.put("large", endless(LARGE, arrived)))
    await arrived.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert (place.uploads(), place.keys()) == ([], [])


async def test_of_many_large_writers_exactly_one_wins(place: Any, opened: Callable[..., Any]) -> None:
    one, other = await opened(place), await opened(place)
    bodies = [bytes([number]) * (6 * MEGABYTE) for number in range(6)]
    puts = [
        (one, other)[number % 2].put("key", stream(body) if number % 3 else body, if_absent=True)
        for number, body in enumerate(bodies)
    ]
    results = await asyncio.gather(*puts, return_exceptions=True)
    winners = [number for number, result in enumerate(results) if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 5
    assert await fetch(one, "key") == bodies[winners[0]]
    assert place.uploads() == []


async def test_a_large_blob_that_is_there_is_not_sent_again(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place)
    await store.put("key", b"first")
    with pytest.raises(Conflict):
        await store.put("key", LARGE, if_absent=True)
    assert await fetch(store, "key") == b"first"


async def test_a_large_blob_replaced_while_it_is_read_is_never_a_mixture(
    place: Any, opened: Callable[..., Any]
) -> None:
    store = await opened(place)
    await store.put("key", LARGE)
    reader = store.get("key")
    parts = [await anext(reader)]
    await store.put("key", bytes(len(LARGE)))
    with pytest.raises(Conflict, match="read it again"):
        await read_into(parts, reader)
    assert LARGE.startswith(b"".join(parts))


async def test_stale_uploads_are_dropped_and_young_ones_left(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place, prefix="mine/")
    for key in ("mine/a", "other/b"):
        place.client.create_multipart_upload(Bucket=place.bucket, Key=key)
    now = datetime.now(UTC)
    assert await sweep(store._bucket, store._threads, older_than=now - timedelta(hours=1)) == 0
    assert await sweep(store._bucket, store._threads, older_than=now + timedelta(hours=1)) == 1
    assert place.uploads() == ["other/b"]


# ---- the bucket


async def test_only_what_lies_behind_the_prefix_is_seen(place: Any, opened: Callable[..., Any]) -> None:
    store, other = await opened(place, prefix="a/"), await opened(place)
    await store.put("key", b"mine")
    await other.put("key", b"other")
    for foreign in ("a/no key", "a/b//c", "a/+trial/x", "a/"):
        place.client.put_object(Bucket=place.bucket, Key=foreign, Body=b"")
    assert await keys(store) == ["key"]
    assert await keys(other) == ["a/key", "key"]
    assert await fetch(store, "key") == b"mine"
    await store.delete("key")
    assert await keys(other) == ["key"]


async def test_nothing_is_left_of_the_trial(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place)
    assert store.excludes is True
    assert (place.keys(), place.uploads()) == ([], [])


# ---- presigned requests


def send(request: Any, content: bytes = b"", **changed: str) -> httpx.Response:
    headers = {**request.headers, **changed}
    return httpx.request(request.method, request.url, headers=headers, content=content or None)


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Let requests be signed by a clock that is wrong."""

    def now(remove_tzinfo: bool = True) -> datetime:  # noqa: FBT001, FBT002  (botocore's own)
        moment = datetime.now(UTC) + ahead
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    monkeypatch.setattr("botocore.auth.get_current_datetime", now)


async def test_a_presigned_request_needs_no_other_credential(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place)
    put = await store.presign("a/b", "PUT", expires=timedelta(minutes=1))
    assert send(put, b"data").status_code == 200
    assert await fetch(store, "a/b") == b"data"
    get = await store.presign("a/b", "GET", expires=timedelta(minutes=1))
    assert send(get).content == b"data"
    assert send(get, Range="bytes=1-2").content == b"at"


async def test_a_presigned_put_takes_what_it_is_bound_to_alone(
    place: Any, opened: Callable[..., Any]
) -> None:
    store = await opened(place)
    right, digest = b"the right bytes", hashlib.md5(b"the right bytes").digest()  # noqa: S324
    put = await store.presign("key", "PUT", expires=timedelta(minutes=1), size=len(right), md5=digest)
    assert send(put, b"the wrong bytes").status_code == 400
    assert send(put, right + b"!", **{"Content-Length": str(len(right) + 1)}).status_code == 403
    other = {"Content-MD5": put.headers["Content-MD5"].swapcase()}
    assert send(put, right, **other).status_code == 403
    assert place.keys() == []
    assert send(put, right).status_code == 200
    assert await fetch(store, "key") == right


@pytest.mark.parametrize("bound", [True, False])
async def test_who_may_store_one_blob_cannot_have_another_copied_there(
    place: Any, opened: Callable[..., Any], *, bound: bool
) -> None:
    """Ceph takes headers that nobody has signed."""
    store = await opened(place)
    await store.put("secret", b"of somebody else")
    right, digest = b"own", hashlib.md5(b"own").digest()  # noqa: S324
    binding = {"size": len(right), "md5": digest} if bound else {}
    put = await store.presign("own", "PUT", expires=timedelta(minutes=1), **binding)
    copy = {"x-amz-copy-source": f"/{place.bucket}/secret"}
    for headers in (copy, copy | dict.fromkeys(put.headers.keys() - {"Content-Length", "Content-MD5"}, "*")):
        assert send(put, right, **headers).status_code in {403, 412}
    unguarded = {name: value for name, value in put.headers.items() if "copy" not in name}
    assert send(replace(put, headers=unguarded), right, **copy).status_code == 403
    assert place.keys() == ["secret"]
    assert send(put, right).status_code == 200
    assert await fetch(store, "own") == right


async def test_a_presigned_put_takes_no_more_and_nothing_else_by_other_ways(
    place: Any, opened: Callable[..., Any]
) -> None:
    store = await opened(place)
    digest = hashlib.md5(b"right").digest()  # noqa: S324
    put = await store.presign("key", "PUT", expires=timedelta(minutes=1), size=5, md5=digest)
    without_length = {name: value for name, value in put.headers.items() if name != "Content-Length"}
    in_chunks = httpx.put(put.url, content=iter([b"x" * 1000] * 5), headers=without_length, trust_env=False)  # noqa: ASYNC210
    assert in_chunks.status_code in {400, 403, 411}
    for url in (f"{put.url}&partNumber=1&uploadId=x", put.url.replace("/key?", "/other?")):
        assert send(replace(put, url=url), b"right").status_code == 403
    assert place.keys() == []


async def test_a_presigned_request_is_good_for_one_key_one_method_and_a_while(
    place: Any, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(place)
    await store.put("key", b"data")
    await store.put("other", b"data")
    get = await store.presign("key", "GET", expires=timedelta(minutes=1))
    assert send(get).content == b"data"
    assert send(replace(get, url=get.url.replace("/key?", "/other?"))).status_code == 403
    assert send(replace(get, method="PUT"), b"x").status_code == 403
    with monkeypatch.context() as patch:
        set_clock(patch, timedelta(minutes=-1))
        expired = await store.presign("key", "GET", expires=timedelta(seconds=59))
    assert send(expired).status_code == 403
    for wrong in (timedelta(0), timedelta(days=8)):
        with pytest.raises(InvalidInput):
            await store.presign("key", "GET", expires=wrong)


async def test_presigned_requests_name_the_endpoint_that_builds_reach(
    place: Any, opened: Callable[..., Any]
) -> None:
    port = place.endpoint.rpartition(":")[2]
    store = await opened(place, public_endpoint=f"http://localhost:{port}", addressing="path")
    put = await store.presign("key", "PUT", expires=timedelta(minutes=1))
    assert put.url.startswith(f"http://localhost:{port}/{place.bucket}/key?")
    assert send(put, b"data").status_code == 200


# ---- what goes wrong


async def test_a_missing_bucket_is_named_at_the_start(place: Any, opened: Callable[..., Any]) -> None:
    with pytest.raises(StoreRefused, match="nowhere: the bucket does not exist: create it"):
        await opened(place, bucket="nowhere")


async def test_wrong_credentials_are_told_apart_at_the_start(
    place: Any, ceph: Any, opened: Callable[..., Any]
) -> None:
    (place.folder / "unknown").write_text("X" * 20)
    with pytest.raises(StoreRefused, match="does not know this access key"):
        await opened(place, access_key="file:unknown")
    with pytest.raises(StoreRefused, match="secret key does not belong") as caught:
        await opened(place, secret_key="file:unknown")
    assert "X" * 20 not in str(caught.value)
    (place.folder / "stranger").write_text(ceph.stranger_key)
    with pytest.raises(StoreRefused, match="grant them the rights"):
        await opened(place, access_key="file:stranger")


async def test_a_wrong_clock_is_called_that(
    place: Any, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(place)
    await store.put("key", b"data")

    set_clock(monkeypatch, timedelta(hours=1))
    for call in (store.put("new", b""), fetch(store, "key"), store.stat("key"), keys(store)):
        with pytest.raises(StoreRefused, match="clock differs"):
            await call


async def test_a_bucket_that_vanishes_is_called_that(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place)
    place.client.delete_bucket(Bucket=place.bucket)
    for call in (store.put("key", b"data"), store.put("key", LARGE), fetch(store, "key"), keys(store)):
        with pytest.raises(StoreRefused, match="the bucket does not exist"):
            await call


@pytest.mark.parametrize("data", [b"small" * 100, LARGE], ids=["one request", "parts"])
async def test_a_blob_changed_behind_our_back_is_not_read_to_its_end(
    place: Any, opened: Callable[..., Any], data: bytes, damage: Callable[..., Any]
) -> None:
    """The bytes change on the way, where no store can see it."""
    store = await opened(place, endpoint=damage(place.endpoint, "flip"))
    await (await opened(place)).put("key", data)
    got: list[bytes] = []
    with pytest.raises(BlobDamaged, match="other bytes"):
        await read_into(got, store.get("key"))
    assert sum(map(len, got)) < len(data)


async def read_into(got: list[bytes], parts: AsyncIterator[bytes]) -> None:
    async for part in parts:
        got.append(part)  # noqa: PERF401  (what came before an error counts)


async def test_bytes_changed_on_their_way_in_are_refused(
    place: Any, opened: Callable[..., Any], damage: Callable[..., Any]
) -> None:
    store = await opened(place, endpoint=damage(place.endpoint, "flip what is sent"))
    with pytest.raises((BlobDamaged, StoreRefused)):
        await store.put("key", b"data that arrives with another byte")
    assert place.keys() == []


async def test_answers_that_break_off_are_asked_for_again(
    place: Any, opened: Callable[..., Any], damage: Callable[..., Any]
) -> None:
    await (await opened(place)).put("key", LARGE)
    store = await opened(place, endpoint=damage(place.endpoint, "break off once"))
    assert await fetch(store, "key") == LARGE


async def test_a_store_that_breaks_off_every_answer_is_unavailable(
    place: Any, opened: Callable[..., Any], damage: Callable[..., Any]
) -> None:
    await (await opened(place)).put("key", LARGE)
    store = await opened(place, endpoint=damage(place.endpoint, "break off"), attempts=2)
    with pytest.raises(StoreUnavailable):
        await fetch(store, "key")


async def test_a_store_that_is_away_is_unavailable_and_comes_back(
    place: Any, opened: Callable[..., Any], damage: Callable[..., Any]
) -> None:
    store = await opened(place, endpoint=damage(place.endpoint, "away"), attempts=2)
    for call in (store.put("key", b"x"), store.put("key", LARGE), fetch(store, "key"), store.stat("key")):
        with pytest.raises(StoreUnavailable):
            await call
    assert place.keys() == []
    damage.back()  # type: ignore[attr-defined]
    await store.put("key", LARGE, if_absent=True)
    assert await fetch(store, "key") == LARGE
    assert store.excludes


async def test_a_blob_deleted_meanwhile_is_not_found(place: Any, opened: Callable[..., Any]) -> None:
    store = await opened(place)
    await store.put("key", LARGE)
    reader = store.get("key")
    await anext(reader)
    await store.delete("key")
    with pytest.raises((BlobNotFound, Conflict)):
        await read_into([], reader)
