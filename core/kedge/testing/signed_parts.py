"""What a blob store promises that lets others store blobs part by part, as tests."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from kedge.errors import BlobNotFound, InvalidInput, StoreError

if TYPE_CHECKING:
    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.signed_parts import SignedParts

LIFETIME = timedelta(minutes=1)


async def send_part(
    parts: SignedParts, key: str, upload: str, number: int, data: bytes, *, sent: bytes | None = None
) -> httpx.Response:
    """Have a part signed, and send it, or something else instead."""
    request = await parts.presign(
        key,
        upload,
        number,
        expires=LIFETIME,
        size=len(data),
        md5=hashlib.md5(data).digest(),  # noqa: S324
    )
    assert request.method == "PUT"
    body = data if sent is None else sent
    headers = {**request.headers, "Content-Length": str(len(body))}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.put(request.url, content=body, headers=headers)


async def _whole(store: BlobStore, key: str) -> bytes:
    async with aclosing(store.get(key)) as pieces:  # type: ignore[type-var]
        return b"".join([piece async for piece in pieces])


class SignedPartsSuite:
    """Part of `BlobStoreSuite`; tells nothing of a store that has no signed parts."""

    @pytest.fixture
    def parts(self, store: BlobStore) -> SignedParts:
        """The signed parts of the store under test."""
        if store.signed_parts is None:
            pytest.skip("this store signs no parts")
        return store.signed_parts

    async def test_parts_sent_in_any_order_make_one_blob(self, store: BlobStore, parts: SignedParts) -> None:
        size = parts.size_for(3 * 1024**2)
        datas = [bytes([number]) * size for number in (1, 2)] + [b"the end"]
        upload = await parts.begin("a/b", size)
        answers = {
            number: await send_part(parts, "a/b", upload, number, datas[number - 1]) for number in (3, 1, 2)
        }
        assert {answer.status_code for answer in answers.values()} == {200}
        with pytest.raises(BlobNotFound):
            await store.stat("a/b")

        etags = [answers[number].headers["ETag"] for number in (1, 2, 3)]
        info = await parts.join("a/b", upload, etags)

        assert (info.key, info.size) == ("a/b", 2 * size + 7)
        assert await _whole(store, "a/b") == b"".join(datas)
        assert (await parts.join("a/b", upload, etags)).size == info.size
        await parts.drop("a/b", upload)
        assert await _whole(store, "a/b") == b"".join(datas)

    async def test_one_part_is_enough_and_the_last_sent_counts(
        self, store: BlobStore, parts: SignedParts
    ) -> None:
        upload = await parts.begin("key", parts.size_for(1))
        await send_part(parts, "key", upload, 1, b"first")
        etag = (await send_part(parts, "key", upload, 1, b"second")).headers["ETag"]
        await parts.join("key", upload, [etag])
        assert await _whole(store, "key") == b"second"

    async def test_parts_are_as_small_as_may_be_and_few_enough(self, parts: SignedParts) -> None:
        small, large = parts.size_for(1), parts.size_for(10**13)
        assert small <= 8 * 1024**2
        assert small < large
        assert large * 10_000 >= 10**13

    async def test_a_signed_part_takes_its_own_bytes_alone(
        self, store: BlobStore, parts: SignedParts
    ) -> None:
        upload = await parts.begin("key", parts.size_for(1))
        other = await send_part(parts, "key", upload, 1, b"right", sent=b"wrong")
        more = await send_part(parts, "key", upload, 1, b"right", sent=b"right and more")
        assert {other.status_code // 100, more.status_code // 100} == {4}
        await parts.drop("key", upload)
        with pytest.raises(BlobNotFound):
            await store.stat("key")

    async def test_parts_that_were_not_sent_cannot_be_joined(
        self, store: BlobStore, parts: SignedParts
    ) -> None:
        size = parts.size_for(1)
        upload = await parts.begin("key", size)
        etag = (await send_part(parts, "key", upload, 1, b"x" * size)).headers["ETag"]
        for etags in ([], [etag, etag], [f'"{"0" * 32}"']):
            with pytest.raises(InvalidInput):
                await parts.join("key", upload, etags)
        with pytest.raises(BlobNotFound):
            await store.stat("key")
        await parts.join("key", upload, [etag])

    async def test_a_dropped_upload_is_gone_and_takes_no_parts(
        self, store: BlobStore, parts: SignedParts
    ) -> None:
        upload = await parts.begin("key", parts.size_for(1))
        etag = (await send_part(parts, "key", upload, 1, b"x")).headers["ETag"]
        await asyncio.gather(*[parts.drop("key", upload) for _ in range(3)])
        assert (await send_part(parts, "key", upload, 1, b"x")).status_code // 100 == 4
        with pytest.raises(StoreError):
            await parts.join("key", upload, [etag])
        with pytest.raises(BlobNotFound):
            await store.stat("key")

    async def test_hostile_keys_and_numbers_are_refused(self, parts: SignedParts) -> None:
        for key in ("", "../a", "a//b"):
            for call in (
                parts.begin(key, parts.size_for(1)),
                parts.presign(key, "x", 1, expires=LIFETIME, size=1, md5=bytes(16)),
                parts.join(key, "x", ["x"]),
                parts.drop(key, "x"),
            ):
                with pytest.raises(InvalidInput):
                    await call
        for number, size in ((0, 1), (-1, 1), (1_000_000, 1), (1, 0)):
            with pytest.raises(InvalidInput):
                await parts.presign("key", "x", number, expires=LIFETIME, size=size, md5=bytes(16))
