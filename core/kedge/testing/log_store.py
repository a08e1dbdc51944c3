"""What every log store promises, as tests."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kedge.contracts.log_store import LogChunk, LogExtent, LogKey, LogStore
from kedge.errors import Conflict, InvalidInput, LogGap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

CAP = 1024 * 1024
EMPTY = LogExtent(size=0, next_number=0, sealed=False)
CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.lists(st.sampled_from([b"line\n", b"\n", b"no end", b"\r"]), max_size=6).map(b"".join),
    ),
    max_size=12,
)
#: what happens to the log before it is read
FATES = st.sampled_from(["hot", "reopened", "sealed", "sealed and reopened", "reopened and sealed"])
PROPERTY = settings(
    deadline=None,
    max_examples=40,
    # every example takes a log of its own, and a suite is there to be inherited more than once
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def new_key() -> LogKey:
    """A log of its own."""
    return LogKey(log_id=str(uuid4()), part=1)


async def write(store: LogStore, key: LogKey, chunks: Sequence[bytes], *, first: int = 0) -> LogExtent:
    """Append `chunks`, numbered from `first`; chunk n at the time 1000 + n."""
    extent = await store.extent(key)
    for number, data in enumerate(chunks, first):
        extent = await store.append(key, number, data, time_ms=1000 + number)
    return extent


async def chunks_of(
    store: LogStore, key: LogKey, *, start: int = 0, end: int | None = None
) -> list[LogChunk]:
    """What `read` yields."""
    return [chunk async for chunk in store.read(key, start=start, end=end)]


async def fetch(store: LogStore, key: LogKey, *, start: int = 0, end: int | None = None) -> bytes:
    """The bytes `start` to `end`, trimmed as a caller does."""
    found = b""
    for chunk in await chunks_of(store, key, start=start, end=end):
        stop = len(chunk.data) if end is None else max(end - chunk.offset, 0)
        found += chunk.data[max(start - chunk.offset, 0) : stop]
    return found


def last_lines(data: bytes, lines: int, *, lowest: int = 0) -> int:
    """The offset at which the last `lines` lines of `data` begin, not before `lowest`."""
    if lines <= 0:
        return len(data)
    position = len(data) - data.endswith(b"\n")
    for _ in range(lines):
        position = data.rfind(b"\n", lowest, max(position, lowest))
        if position < 0:
            return lowest
    return position + 1


def numbered(count: int, size: int) -> list[bytes]:
    """Chunks of `size` bytes, each a few lines that name it."""
    return [(b"chunk %08d " % number * size)[: size - 1] + b"\n" for number in range(count)]


class LogStoreSuite:
    """Subclass it as `class TestMine(LogStoreSuite)`; give the fixture `store` and the method `reopen`."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> LogStore:
        """The store under test, open and empty, with a cap of `CAP` bytes; close it after the test."""
        raise NotImplementedError

    @abstractmethod
    async def reopen(self, store: LogStore) -> LogStore:
        """Close `store` and return a new one over the same place, open."""

    _reopened: LogStore | None = None

    @pytest.fixture(autouse=True)
    async def _close_reopened(self) -> AsyncIterator[None]:
        yield
        if self._reopened is not None:
            await self._reopened.close()

    async def _reopen(self, store: LogStore) -> LogStore:
        self._reopened = await self.reopen(store)
        return self._reopened

    async def _meet(self, store: LogStore, key: LogKey, fate: str) -> LogStore:
        for word in fate.split(" and "):
            if word == "sealed":
                await store.seal(key)
            elif word == "reopened":
                store = await self._reopen(store)
        return store

    def test_it_is_a_log_store_with_a_name_and_frozen_settings(self, store: LogStore) -> None:
        assert isinstance(store, LogStore)
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", store.name)
        assert store.Settings.model_config.get("frozen") is True
        assert store.Settings.model_config.get("extra") == "forbid"

    async def test_a_log_never_written_is_empty_and_not_sealed(self, store: LogStore) -> None:
        key = new_key()
        assert await store.extent(key) == EMPTY
        assert await chunks_of(store, key) == []
        assert await chunks_of(store, key, start=5, end=9) == []
        assert await store.tail_offset(key, 10) == 0
        await store.delete(key)
        assert await store.extent(key) == EMPTY

    async def test_chunks_come_back_as_they_arrived(self, store: LogStore) -> None:
        key, chunks = new_key(), [b"one\n", b"\xff\x00\r", b"", b"three"]
        extent = await write(store, key, chunks)
        assert extent == LogExtent(size=12, next_number=4, sealed=False)
        for _ in range(2):
            found = await chunks_of(store, key)
            for chunk in found:
                assert chunk.data == chunks[chunk.number]
                assert chunk.offset == len(b"".join(chunks[: chunk.number]))
                assert chunk.time_ms == 1000 + chunk.number
            assert {0, 1, 3} <= {chunk.number for chunk in found}
            await store.seal(key)

    @PROPERTY
    @given(chunks=CHUNKS, fate=FATES, start=st.integers(0, 120), length=st.integers(0, 120))
    @example(chunks=[b"one\n", b"", b"two\n"], fate="sealed", start=0, length=4)
    @example(chunks=[b"one\n", b"", b""], fate="sealed", start=0, length=120)
    async def test_any_range_is_what_a_slice_is(
        self, store: LogStore, chunks: list[bytes], fate: str, start: int, length: int
    ) -> None:
        key, model, end = new_key(), b"".join(chunks), start + length
        await write(self._reopened or store, key, chunks)
        opened = await self._meet(self._reopened or store, key, fate)
        assert await fetch(opened, key) == model
        assert await fetch(opened, key, start=start) == model[start:]
        assert await fetch(opened, key, start=start, end=end) == model[start:end]
        found = await chunks_of(opened, key, start=start, end=end)
        assert all(chunk.offset < end and chunk.offset + len(chunk.data) >= start for chunk in found)
        extent = await opened.extent(key)
        sealed = "sealed" in fate
        assert extent == LogExtent(size=len(model), next_number=len(chunks), sealed=sealed)

    @PROPERTY
    @given(chunks=CHUNKS, fate=FATES, lines=st.integers(-1, 30))
    async def test_the_tail_is_the_last_lines(
        self, store: LogStore, chunks: list[bytes], fate: str, lines: int
    ) -> None:
        key = new_key()
        await write(self._reopened or store, key, chunks)
        opened = await self._meet(self._reopened or store, key, fate)
        assert await opened.tail_offset(key, lines) == last_lines(b"".join(chunks), lines)

    @PROPERTY
    @given(chunks=CHUNKS.filter(bool), numbers=st.lists(st.integers(0, 14), max_size=30))
    async def test_each_number_counts_once_and_in_order(
        self, store: LogStore, chunks: list[bytes], numbers: list[int]
    ) -> None:
        key, count = new_key(), 0
        for number in numbers:
            data = chunks[number % len(chunks)]
            if number > count:
                with pytest.raises(LogGap) as gap:
                    await store.append(key, number, data, time_ms=0)
                assert gap.value.expected == count
            else:
                extent = await store.append(key, number, data, time_ms=0)
                count = max(count, number + 1)
                assert extent.next_number == count
        model = [chunks[number % len(chunks)] for number in range(count)]
        assert await fetch(store, key) == b"".join(model)

    async def test_the_same_chunk_sent_by_many_at_once_counts_once(self, store: LogStore) -> None:
        key = new_key()
        for number in range(4):
            await asyncio.gather(*[store.append(key, number, b"%d" % number, time_ms=0) for _ in range(8)])
        assert await fetch(store, key) == b"0123"

    async def test_a_cancelled_append_is_there_whole_or_not_at_all(self, store: LogStore) -> None:
        key, chunks = new_key(), numbered(24, 30_000)
        for number, data in enumerate(chunks):
            append = asyncio.create_task(store.append(key, number, data, time_ms=0))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            append.cancel()
            extent = await store.append(key, number, data, time_ms=0)
            assert (extent.next_number, extent.size) == (number + 1, 30_000 * (number + 1))
        assert await fetch(store, key) == b"".join(chunks)

    async def test_logs_are_strangers_to_each_other(self, store: LogStore) -> None:
        first = new_key()
        others = [LogKey(log_id=first.log_id, part=part) for part in range(2, 12)]
        bodies = {key: numbered(5, 20 + key.part) for key in (first, *others)}
        await asyncio.gather(*[write(store, key, body) for key, body in bodies.items()])
        await store.seal(others[0])
        await store.delete(others[1])
        for key, body in bodies.items():
            expected = b"" if key == others[1] else b"".join(body)
            assert await fetch(store, key) == expected
            assert (await store.extent(key)).sealed == (key == others[0])

    @pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc", "a\0b", "a\n", "é", "x" * 300])
    async def test_a_hostile_name_is_refused(self, store: LogStore, name: str) -> None:
        key = LogKey(log_id=name, part=1)
        calls = (
            store.append(key, 0, b"data", time_ms=0),
            store.extent(key),
            chunks_of(store, key),
            store.tail_offset(key, 1),
            store.seal(key),
            store.delete(key),
        )
        for call in calls:
            with pytest.raises(InvalidInput):
                await call

    async def test_a_sealed_log_takes_no_more(self, store: LogStore) -> None:
        key = new_key()
        await write(store, key, [b"one", b"two"])
        await store.seal(key)
        for _ in range(2):
            with pytest.raises(Conflict):
                await store.append(key, 2, b"three", time_ms=0)
            store = await self._reopen(store)
        assert await fetch(store, key) == b"onetwo"

    async def test_sealing_twice_is_sealing_once(self, store: LogStore) -> None:
        key = new_key()
        await write(store, key, [b"one\n", b"two\n"])
        expected = LogExtent(size=8, next_number=2, sealed=True)
        assert await store.seal(key) == expected
        assert await store.seal(key) == expected
        assert await asyncio.gather(*[store.seal(key) for _ in range(8)]) == [expected] * 8
        assert await store.extent(key) == expected
        assert await fetch(store, key) == b"one\ntwo\n"

    async def test_what_was_begun_and_not_sealed_is_known_after_a_start(self, store: LogStore) -> None:
        begun, sealed = new_key(), new_key()
        for key in (begun, sealed):
            await write(store, key, [b"data"])
        await store.seal(sealed)
        assert await (await self._reopen(store)).unsealed() == [begun]

    async def test_a_log_never_written_can_be_sealed(self, store: LogStore) -> None:
        key = new_key()
        assert await store.seal(key) == LogExtent(size=0, next_number=0, sealed=True)
        assert await fetch(store, key) == b""
        assert await store.tail_offset(key, 3) == 0

    async def test_appending_while_sealing_is_in_or_refused(self, store: LogStore) -> None:
        for turns in range(10):
            key, data = new_key(), b"x" * 1000
            await write(store, key, [data])
            sealing = asyncio.create_task(store.seal(key))
            for _ in range(turns):
                await asyncio.sleep(0)
            results = await asyncio.gather(
                sealing, store.append(key, 1, data, time_ms=0), return_exceptions=True
            )
            count = 1 if isinstance(results[1], Conflict) else 2
            assert (await store.extent(key)) == LogExtent(size=1000 * count, next_number=count, sealed=True)
            assert await fetch(store, key) == data * count

    async def test_the_middle_is_dropped_past_the_cap(self, store: LogStore) -> None:
        key, chunks = new_key(), numbered(320, 16 * 1024)
        model = b"".join(chunks)
        await write(store, key, chunks)
        for fate in ("hot", "reopened", "sealed", "reopened"):
            store = await self._meet(store, key, fate)
            extent = await store.extent(key)
            assert (extent.size, extent.next_number) == (len(model), len(chunks))
            head, tail = extent.gap_start, extent.size - extent.gap_end
            assert CAP // 4 <= head <= CAP * 3 // 4
            assert CAP // 4 <= tail <= CAP * 3 // 4
            assert CAP // 2 <= head + tail <= CAP
            kept = model[:head] + model[extent.gap_end :]
            assert await fetch(store, key) == kept
            middle = (extent.gap_start + extent.gap_end) // 2
            for start in (extent.gap_start, middle, extent.gap_end):
                assert await fetch(store, key, start=start) == model[extent.gap_end :]
            assert await fetch(store, key, start=extent.gap_end - 1, end=extent.gap_end) == b""
            assert await store.tail_offset(key, 3) == last_lines(model, 3)
            assert await store.tail_offset(key, 100_000) == extent.gap_end

    async def test_a_log_within_the_cap_has_no_gap(self, store: LogStore) -> None:
        key, chunks = new_key(), numbered(31, 16 * 1024)
        extent = await write(store, key, chunks)
        assert extent.gap_start == extent.gap_end
        assert await fetch(store, key) == b"".join(chunks)

    async def test_a_chunk_larger_than_the_cap_keeps_its_number(self, store: LogStore) -> None:
        key, big = new_key(), b"0123456789abcdef" * (CAP // 8)
        await write(store, key, [b"first\n", big, b"last\n"])
        extent = await store.seal(key)
        assert (extent.size, extent.next_number) == (len(big) + 11, 3)
        assert (await fetch(store, key)).endswith(b"last\n")

    async def test_reading_goes_on_while_the_log_grows_and_is_sealed(self, store: LogStore) -> None:
        for disturb in ("append", "seal", "append and seal"):
            key, chunks = new_key(), numbered(40, 10_000)
            await write(store, key, chunks)
            reader = store.read(key)
            found = [(await anext(reader)).data]
            if "append" in disturb:
                await write(store, key, numbered(60, 10_000)[40:], first=40)
            if "seal" in disturb:
                await store.seal(key)
            found += [chunk.data async for chunk in reader]
            assert b"".join(found).startswith(b"".join(chunks))

    async def test_readers_beside_a_writer_see_a_beginning_of_the_log(self, store: LogStore) -> None:
        key, chunks = new_key(), numbered(60, 8_000)
        model = b"".join(chunks)

        async def follow() -> bytes:
            seen, extent = b"", EMPTY
            while not (extent.sealed and len(seen) == extent.size):
                extent = await store.extent(key)
                seen += await fetch(store, key, start=len(seen), end=extent.size)
                assert model.startswith(seen)
                tail = await store.tail_offset(key, 1)
                assert tail % 8_000 == 0
            return seen

        followers = [asyncio.create_task(follow()) for _ in range(4)]
        await write(store, key, chunks)
        await store.seal(key)
        assert await asyncio.gather(*followers) == [model] * 4

    async def test_a_reopened_store_goes_on_where_it_was(self, store: LogStore) -> None:
        key, chunks = new_key(), numbered(30, 1000)
        for number, data in enumerate(chunks):
            if number % 5 == 0:
                store = await self._reopen(store)
            await store.append(key, number, data, time_ms=1000 + number)
        assert await fetch(store, key) == b"".join(chunks)

    async def test_deleting_is_for_good_whether_hot_or_sealed(self, store: LogStore) -> None:
        for sealed in (False, True):
            key = new_key()
            await write(store, key, [b"data"])
            if sealed:
                await store.seal(key)
            await store.delete(key)
            await store.delete(key)
            assert await store.extent(key) == EMPTY
            assert await fetch(store, key) == b""
