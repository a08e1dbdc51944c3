"""What every blob store promises, as tests."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

import pytest

from kedge.contracts.blobs import BlobStore
from kedge.errors import BlobNotFound, Conflict, InvalidInput
from kedge.testing.signed_parts import SignedPartsSuite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge.contracts.blobs import BlobInfo

MEGABYTE = 1024 * 1024
METHODS: tuple[Literal["GET", "PUT"], ...] = ("GET", "PUT")
GOOD_KEYS = (
    "a",
    "...",
    ".hidden",
    "-rf",
    "_",
    "a..b/..c/d..",
    "A/a",
    "a/A",
    "index.idx/part",
    "/".join(["x" * 200, "y" * 200, "z" * 110]),
)
HOSTILE_KEYS = (
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "./a",
    "a/.",
    "a\0b",
    "a\n",
    "a\n/../b",
    "a b",
    "a\\b",
    "a+",
    "a%2fb",
    "~",
    "é",
    "\ud800",
    "x" * 201,
    "x/" * 256 + "x",
)


async def fetch(store: BlobStore, key: str, *, start: int = 0, end: int | None = None) -> bytes:
    """The bytes that `get` yields, as one."""
    return b"".join([part async for part in store.get(key, start=start, end=end)])


async def infos(store: BlobStore, prefix: str = "") -> list[BlobInfo]:
    """What `list` yields."""
    return [info async for info in store.list(prefix)]


async def keys(store: BlobStore, prefix: str = "") -> list[str]:
    """The keys that `list` yields."""
    return [info.key for info in await infos(store, prefix)]


async def stream(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield `parts`."""
    for part in parts:
        yield part


async def endless(part: bytes, arrived: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield `part`, then set `arrived` and nothing more."""
    yield part
    arrived.set()
    await asyncio.get_running_loop().create_future()


async def broken(part: bytes) -> AsyncIterator[bytes]:
    """Yield `part`, then fail."""
    yield part
    raise ConnectionResetError("the sender is gone")


class BlobStoreSuite(SignedPartsSuite):
    """Subclass it as `class TestMine(BlobStoreSuite)`; give the fixture `store` and the method `reopen`."""

    #: blobs that a list gives in several pages
    many: ClassVar[int] = 2500

    @pytest.fixture
    async def store(self, tmp_path: Path) -> BlobStore:
        """The store under test, open and empty; close it after the test."""
        raise NotImplementedError

    @abstractmethod
    async def reopen(self, store: BlobStore) -> BlobStore:
        """Close `store` and return a new one over the same place, open."""

    def test_it_is_a_blob_store_with_a_name_and_frozen_settings(self, store: BlobStore) -> None:
        assert isinstance(store, BlobStore)
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", store.name)
        assert store.Settings.model_config.get("frozen") is True
        assert store.Settings.model_config.get("extra") == "forbid"

    @pytest.mark.parametrize("size", [0, 1, MEGABYTE - 1, MEGABYTE, 3 * MEGABYTE + 17])
    async def test_bytes_come_back_as_they_were(self, store: BlobStore, size: int) -> None:
        data = (bytes(range(256)) * (size // 256 + 1))[:size]
        before = datetime.now(UTC) - timedelta(minutes=1)
        info = await store.put("a/b", data)
        assert (info.key, info.size) == ("a/b", size)
        assert before < info.modified_on < before + timedelta(minutes=2)
        assert await fetch(store, "a/b") == data
        assert await store.stat("a/b") == info
        assert await infos(store) == [info]

    async def test_a_file_is_stored_and_left_as_it_is(self, store: BlobStore, tmp_path: Path) -> None:
        source = tmp_path / "a source"
        source.write_bytes(b"content")
        assert (await store.put("key", source)).size == 7
        assert source.read_bytes() == b"content"
        source.write_bytes(b"changed")
        assert await fetch(store, "key") == b"content"

    async def test_a_stream_is_stored(self, store: BlobStore) -> None:
        parts = [b"one", b"", b"two" * MEGABYTE, b"three"]
        assert (await store.put("key", stream(*parts))).size == sum(map(len, parts))
        assert await fetch(store, "key") == b"".join(parts)
        assert (await store.put("empty", stream())).size == 0

    @pytest.mark.parametrize(
        ("start", "end"),
        [(0, 0), (0, 1), (5, 5), (7, 3), (1, None), (9, 10), (9, 99), (10, None), (11, None), (99, 200)],
    )
    async def test_a_range_is_what_a_slice_is(self, store: BlobStore, start: int, end: int | None) -> None:
        await store.put("key", b"0123456789")
        assert await fetch(store, "key", start=start, end=end) == b"0123456789"[start:end]

    async def test_ranges_of_a_large_blob_are_exact(self, store: BlobStore) -> None:
        data = b"".join(number.to_bytes(4, "big") for number in range(MEGABYTE))
        await store.put("key", data)
        for start, end in [
            (1, None),
            (MEGABYTE - 1, MEGABYTE + 1),
            (3, 3 * MEGABYTE + 1),
            (4194303, 4194304),
        ]:
            assert await fetch(store, "key", start=start, end=end) == data[start:end]

    async def test_what_is_not_there_is_not_found(self, store: BlobStore) -> None:
        await store.put("a/b/c", b"")
        for key in ("x", "a", "a/b", "a/b/c/d"):
            with pytest.raises(BlobNotFound):
                await store.stat(key)
            with pytest.raises(BlobNotFound):
                await fetch(store, key)
            await store.delete(key)
        assert await keys(store) == ["a/b/c"]

    @pytest.mark.parametrize("key", GOOD_KEYS)
    async def test_a_good_key_is_taken(self, store: BlobStore, key: str) -> None:
        await store.put(key, b"data")
        assert await fetch(store, key) == b"data"
        assert await keys(store) == [key]
        await store.delete(key)
        assert await keys(store) == []

    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=repr)
    async def test_a_hostile_key_is_refused(self, store: BlobStore, key: str) -> None:
        for call in (store.put(key, b"data"), store.stat(key), store.delete(key), fetch(store, key)):
            with pytest.raises(InvalidInput):
                await call
        assert await keys(store) == []

    async def test_a_key_can_begin_with_another_one(self, store: BlobStore) -> None:
        for key in ("a", "a/b", "a/b/c"):
            await store.put(key, key.encode())
        assert [await fetch(store, key) for key in await keys(store)] == [b"a", b"a/b", b"a/b/c"]

    async def test_a_second_put_replaces_the_first(self, store: BlobStore) -> None:
        await store.put("key", b"a long first one")
        await store.put("key", b"second")
        assert await fetch(store, "key") == b"second"

    async def test_a_reader_sees_a_replaced_blob_whole(self, store: BlobStore) -> None:
        old, new = b"a" * 4 * MEGABYTE, b"b" * 4 * MEGABYTE
        await store.put("key", old)
        reader = store.get("key")
        parts = [await anext(reader)]
        await store.put("key", new)
        parts += [part async for part in reader]
        assert b"".join(parts) == old
        assert await fetch(store, "key") == new

    async def test_readers_and_writers_never_meet_half_a_blob(self, store: BlobStore) -> None:
        bodies = [bytes([letter]) * 100_000 for letter in range(16)]
        await store.put("key", bodies[0])
        reads = [fetch(store, "key") for _ in bodies]
        seen = await asyncio.gather(*reads, *[store.put("key", body) for body in bodies])
        assert set(seen[: len(bodies)]) <= set(bodies)
        assert await fetch(store, "key") in bodies

    async def test_if_absent_refuses_to_replace(self, store: BlobStore) -> None:
        await store.put("key", b"first", if_absent=True)
        with pytest.raises(Conflict):
            await store.put("key", b"second", if_absent=True)
        assert await fetch(store, "key") == b"first"
        await store.delete("key")
        await store.put("key", b"third", if_absent=True)

    async def test_of_32_writers_exactly_one_wins(self, store: BlobStore) -> None:
        bodies = [b"%d" % number * 1000 for number in range(32)]
        puts = [store.put("a/b", stream(body) if body[0] % 2 else body, if_absent=True) for body in bodies]
        results = await asyncio.gather(*puts, return_exceptions=True)
        winners = [number for number, result in enumerate(results) if not isinstance(result, BaseException)]
        assert len(winners) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 31
        assert await fetch(store, "a/b") == bodies[winners[0]]

    async def test_a_put_that_is_cancelled_leaves_nothing(self, store: BlobStore) -> None:
        for key in ("new", "old"):
            arrived = asyncio.Event()
            if key == "old":
                await store.put(key, b"before")
            put = asyncio.create_task(store.put(key, endless(b"x" * MEGABYTE, arrived)))
            await arrived.wait()
            put.cancel()
            with pytest.raises(asyncio.CancelledError):
                await put
        assert await keys(store) == ["old"]
        assert await fetch(store, "old") == b"before"

    async def test_a_put_cancelled_at_any_moment_is_over_when_it_returns(self, store: BlobStore) -> None:
        for turns in range(12):
            key, data = f"key-{turns}", b"x" * MEGABYTE
            put = asyncio.create_task(store.put(key, data))
            for _ in range(turns):
                await asyncio.sleep(0)
            put.cancel()
            await asyncio.wait([put])
            found = await keys(store, key)
            assert not found or await fetch(store, key) == data
            await store.put("another", b"")
            assert await keys(store, key) == found

    async def test_a_put_that_fails_leaves_nothing(self, store: BlobStore, tmp_path: Path) -> None:
        with pytest.raises(ConnectionResetError):
            await store.put("key", broken(b"part"))
        with pytest.raises(FileNotFoundError):
            await store.put("key", tmp_path / "not there")
        assert await keys(store) == []

    async def test_a_list_is_ordered_by_key(self, store: BlobStore) -> None:
        some = ["a", "a-b", "a.b", "a/b", "a/b-c", "a/b/c", "a0", "A", "aa/b", "b", "a_b", "a/a", "a-b/c"]
        for key in some:
            await store.put(key, key.encode())
        assert await keys(store) == sorted(some)

    @pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a/b/", "aa", "z", "../", "/", "", "a/b/c/d"])
    async def test_a_list_holds_what_starts_with_the_prefix(self, store: BlobStore, prefix: str) -> None:
        some = ["a", "a/b", "a/b/c", "a/bc", "aa", "ab/c", "b/a/b"]
        for key in some:
            await store.put(key, b"")
        assert await keys(store, prefix) == sorted(key for key in some if key.startswith(prefix))

    async def test_a_long_list_misses_nothing(self, store: BlobStore) -> None:
        some = [f"{number % 3}/{number:04}" for number in range(self.many)]
        for first in range(0, len(some), 100):
            await asyncio.gather(*[store.put(key, b"") for key in some[first : first + 100]])
        assert await keys(store) == sorted(some)

    async def test_a_list_bears_what_is_deleted_and_added_meanwhile(self, store: BlobStore) -> None:
        for key in ("a/1", "b/1", "c/1"):
            await store.put(key, b"")
        listed = store.list()
        seen = [(await anext(listed)).key]
        await store.delete("b/1")
        await store.put("d/1", b"")
        seen += [info.key async for info in listed]
        assert seen == sorted(seen)
        assert {"a/1", "c/1"} <= set(seen) <= {"a/1", "b/1", "c/1", "d/1"}

    async def test_deleting_is_for_good_and_twice_no_error(self, store: BlobStore) -> None:
        await store.put("a/b", b"")
        await store.delete("a/b")
        await store.delete("a/b")
        with pytest.raises(BlobNotFound):
            await store.stat("a/b")
        assert await keys(store) == []

    async def test_a_presigned_request_is_one_or_none(self, store: BlobStore) -> None:
        await store.put("a/b", b"")
        for method in METHODS:
            request = await store.presign("a/b", method, expires=timedelta(minutes=1))
            if request is not None:
                assert request.method == method
                assert re.match(r"https?://", request.url)
                assert request.url not in repr(request)

    @pytest.mark.parametrize("key", ["", "../a", "a//b"])
    async def test_a_hostile_key_is_not_presigned(self, store: BlobStore, key: str) -> None:
        for method in METHODS:
            with pytest.raises(InvalidInput):
                await store.presign(key, method, expires=timedelta(minutes=1))

    async def test_who_has_no_urls_has_none_at_all(self, store: BlobStore) -> None:
        lifetime = timedelta(minutes=1)
        requests = [await store.presign("a", method, expires=lifetime) for method in METHODS]
        bound = await store.presign("a", "PUT", expires=lifetime, size=1, md5=bytes(16))
        assert len({request is None for request in (*requests, bound)}) == 1

    async def test_a_reopened_store_holds_the_same(self, store: BlobStore) -> None:
        for key in ("a", "a/b"):
            await store.put(key, key.encode())
        before = await infos(store)
        again = await self.reopen(store)
        assert await infos(again) == before
        assert await fetch(again, "a/b") == b"a/b"
        with pytest.raises(Conflict):
            await again.put("a", b"", if_absent=True)
        await again.close()
