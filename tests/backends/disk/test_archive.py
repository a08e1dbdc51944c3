"""Sealed logs that go on to a blob store which all nodes share."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from kedge import LogExtent, StoreUnavailable
from kedge.testing.blobs import keys
from kedge.testing.fake_host import FakeHost
from kedge.testing.log_store import CAP, LogStoreSuite, fetch, last_lines, new_key, numbered, write
from kedge.testing.memory import MemoryBlobs
from kedge_disk import shipping
from kedge_disk.log_store import DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge import BlobInfo, BlobStore, LogKey, LogStore


class SharedBlobs(MemoryBlobs):
    """Blobs in memory as if all nodes saw them; away while a test says so."""

    shared: bool = True
    away: bool = False

    async def put(self, key: str, data: Any, *, if_absent: bool = False) -> BlobInfo:
        self._come()
        return await super().put(key, data, if_absent=if_absent)

    async def stat(self, key: str) -> BlobInfo:
        self._come()
        return await super().stat(key)

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        self._come()
        async for part in super().get(key, start=start, end=end):
            yield part

    def _come(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


class Patient(DiskLogs):
    """Returns from sealing when the log has reached the archive, so that what follows reads there."""

    async def seal(self, key: LogKey) -> LogExtent:
        extent = await super().seal(key)
        assert self.shipping is not None
        await self.shipping.wait()
        return extent


async def opened(folder: Path, blobs: BlobStore, cls: type[DiskLogs] = Patient) -> DiskLogs:
    store = cls(DiskLogSettings(max_bytes=CAP), FakeHost(folder, blobs=blobs))
    await store.open()
    return store


def files(folder: Path) -> list[str]:
    return [path.name for path in (folder / "logs").rglob("*") if path.is_file()]


class TestArchivedLogs(LogStoreSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LogStore]:
        self.folder, self.blobs = tmp_path / "data", SharedBlobs()
        store = await opened(self.folder, self.blobs)
        yield store
        await store.close()

    async def reopen(self, store: LogStore) -> LogStore:
        await store.close()
        return await opened(self.folder, self.blobs)


class TestLogsOnTheirWay(LogStoreSuite):
    """Nobody waits: reads meet logs here, underway and there."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LogStore]:
        self.folder, self.blobs = tmp_path / "data", SharedBlobs()
        store = await opened(self.folder, self.blobs, DiskLogs)
        yield store
        await store.close()

    async def reopen(self, store: LogStore) -> LogStore:
        await store.close()
        return await opened(self.folder, self.blobs, DiskLogs)


async def test_a_sealed_log_leaves_the_disk_and_any_node_reads_it(tmp_path: Path) -> None:
    blobs, key, chunks = SharedBlobs(), new_key(), numbered(100, 10_000)
    store = await opened(tmp_path / "one", blobs)
    await write(store, key, chunks)
    await store.seal(key)
    name = f"logs/{key.log_id[:2]}/{key}"
    assert (files(tmp_path / "one"), await keys(blobs)) == ([], [f"{name}.idx", f"{name}.zst"])
    other = await opened(tmp_path / "other", blobs)
    assert await fetch(other, key) == b"".join(chunks)
    assert await other.seal(key) == LogExtent(size=1_000_000, next_number=100, sealed=True)
    await other.delete(key)
    assert await keys(blobs) == []
    await store.close()
    await other.close()


async def test_ranges_and_tails_fetch_little(tmp_path: Path) -> None:
    key, chunks = new_key(), [os_random(20_000) for _ in range(45)]
    blobs = SharedBlobs()
    store = await opened(tmp_path, blobs)
    await write(store, key, chunks)
    await store.seal(key)
    model, fetched = b"".join(chunks), [0]
    get = blobs.get

    async def count(name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        async for part in get(name, start=start, end=end):
            fetched[0] += len(part) if name.endswith(".zst") else 0
            yield part

    blobs.get = count  # type: ignore[assignment, method-assign]
    assert await fetch(store, key, start=500_000, end=500_010) == model[500_000:500_010]
    assert fetched[0] < 25_000
    assert await store.tail_offset(key, 3) == last_lines(model, 3)
    assert fetched[0] < 400_000
    await store.close()


def os_random(size: int) -> bytes:
    """What cannot be compressed."""
    import os

    return os.urandom(size)


async def test_a_store_that_is_away_holds_up_neither_writing_nor_sealing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedge_disk.shipping.FIRST_PAUSE", 0.01)
    blobs, key = SharedBlobs(), new_key()
    store = await opened(tmp_path, blobs, DiskLogs)
    blobs.away = True
    await write_blind(store, key, [b"one\n", b"two\n"])
    assert await store.seal(key) == LogExtent(size=8, next_number=2, sealed=True)
    assert await fetch(store, key) == b"one\ntwo\n"
    blobs.away = False
    assert store.shipping is not None
    await store.shipping.wait()
    assert (files(tmp_path), len(await keys(blobs))) == ([], 2)
    assert await fetch(store, key) == b"one\ntwo\n"
    blobs.away = True
    await store.close()
    again = await opened(tmp_path, blobs)
    with pytest.raises(StoreUnavailable):
        await again.extent(key)
    await again.close()


async def write_blind(store: LogStore, key: LogKey, chunks: list[bytes]) -> None:
    for number, data in enumerate(chunks):
        await store.append(key, number, data, time_ms=0)


async def test_what_was_left_on_the_disk_goes_at_the_next_start(tmp_path: Path) -> None:
    blobs, key = SharedBlobs(), new_key()
    store = await opened(tmp_path, blobs, DiskLogs)
    blobs.away = True
    await write_blind(store, key, [b"one\n"])
    await store.seal(key)
    await store.close()
    assert len(files(tmp_path)) == 2
    blobs.away = False
    again = await opened(tmp_path, blobs)
    assert again.shipping is not None
    await again.shipping.wait()
    assert (files(tmp_path), len(await keys(blobs))) == ([], 2)
    assert await fetch(again, key) == b"one\n"
    await again.close()


async def test_an_empty_log_sealed_blindly_replaces_nothing(tmp_path: Path) -> None:
    """A node that lost its disk seals again what is in the archive already."""
    blobs, key = SharedBlobs(), new_key()
    store = await opened(tmp_path, blobs)
    await write(store, key, [b"one\n"])
    await store.seal(key)
    await store.close()
    shutil.rmtree(tmp_path / "logs")
    again = await opened(tmp_path, blobs, DiskLogs)
    blobs.away = True
    await again.seal(key)
    blobs.away = False
    await again.close()
    last = await opened(tmp_path, blobs)
    assert last.shipping is not None
    await last.shipping.wait()
    assert await fetch(last, key) == b"one\n"
    await last.close()


async def test_many_logs_go_at_once_and_a_closed_store_sends_no_more(tmp_path: Path) -> None:
    blobs, names = SharedBlobs(), [new_key() for _ in range(20)]
    store = await opened(tmp_path, blobs, DiskLogs)
    for key in names:
        await write(store, key, [b"data"])
    await asyncio.gather(*[store.seal(key) for key in names])
    assert store.shipping is not None
    await store.shipping.wait()
    assert len(await keys(blobs)) == 40
    await store.close()
    assert files(tmp_path) == []


async def test_a_log_that_cannot_go_for_any_reason_keeps_none_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "FIRST_PAUSE", 0.0)
    blobs = SharedBlobs()
    put, faults = blobs.put, 2 * shipping.AT_ONCE

    async def put_in_the_end(*given: Any, **more: Any) -> BlobInfo:
        nonlocal faults
        if faults:
            faults -= 1
            raise RuntimeError("a fault of a plugin")
        return await put(*given, **more)

    monkeypatch.setattr(blobs, "put", put_in_the_end)
    store = await opened(tmp_path, blobs)
    async with asyncio.timeout(60):
        for key in [new_key() for _ in range(2 * shipping.AT_ONCE)]:
            await write(store, key, [b"data"])
            await store.seal(key)
            assert await fetch(store, key) == b"data"
    assert faults == 0
    await store.close()
