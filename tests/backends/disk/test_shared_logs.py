"""Build logs in the database that nodes share, and then in their blob store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlmodel import func, select

from kedge import ConfigError, LogExtent
from kedge.db.hot_logs import DatabaseHotLogs
from kedge.db.tables import HotChunk, HotLog
from kedge.testing.fake_host import FakeHost
from kedge.testing.log_store import CAP, LogStoreSuite, fetch, new_key, write
from kedge_disk.blobs import DiskBlobs, DiskBlobSettings
from kedge_disk.log_store import DiskLogSettings
from kedge_disk.shared_logs import SharedLogs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlmodel import Session

    from kedge import LogKey, LogStore
    from kedge.db.engine import Database


class Patient(SharedLogs):
    """Returns from sealing when the log has been moved, so that what follows reads there."""

    async def seal(self, key: LogKey) -> LogExtent:
        extent = await super().seal(key)
        await self.wait_for_moves()
        return extent


async def opened(
    db: Database, folder: Path, *, node: str = "a", cls: type[SharedLogs] = SharedLogs
) -> SharedLogs:
    host = FakeHost(folder / node, node=node, hot_logs=DatabaseHotLogs(db, node))
    host.blobs = DiskBlobs(DiskBlobSettings(folder=folder / "blobs"), host)
    await host.blobs.open()
    store = cls(DiskLogSettings(max_bytes=CAP), host)
    await store.open()
    return store


def rows(session: Session) -> list[int]:
    return [session.exec(select(func.count()).select_from(table)).one() for table in (HotLog, HotChunk)]


class SharedLogsSuite(LogStoreSuite):
    cls: type[SharedLogs]

    @pytest.fixture
    async def store(self, db: Database, tmp_path: Path) -> AsyncIterator[LogStore]:
        self.db, self.folder = db, tmp_path
        store = await opened(db, tmp_path, cls=self.cls)
        yield store
        await store.close()

    async def reopen(self, store: LogStore) -> LogStore:
        await store.close()
        return await opened(self.db, self.folder, cls=self.cls)


class TestSharedLogs(SharedLogsSuite):
    cls = SharedLogs


class TestMovedLogs(SharedLogsSuite):
    cls = Patient


async def test_what_one_node_appends_another_reads_and_a_third_seals(db: Database, tmp_path: Path) -> None:
    stores = [await opened(db, tmp_path, node=node, cls=Patient) for node in "abc"]
    key, chunks = new_key(), [f"line {number}\n".encode() for number in range(100)]
    for number, data in enumerate(chunks):
        await stores[number % 2].append(key, number, data, time_ms=number)

    assert await fetch(stores[2], key) == b"".join(chunks)
    await stores[2].seal(key)

    assert await db.read(rows) == [0, 0]
    for store in stores:
        assert (await store.extent(key)).sealed
        assert await fetch(store, key) == b"".join(chunks)
        await store.close()


async def test_a_log_whose_node_died_before_it_moved_is_moved_by_another(
    db: Database, tmp_path: Path
) -> None:
    first = await opened(db, tmp_path, node="a")
    key = new_key()
    await write(first, key, [b"a line\n"])
    await DatabaseHotLogs(db, "a").seal(key, begin=False)
    await first.close()

    second = await opened(db, tmp_path, node="b")
    await second.wait_for_sweep()

    assert await db.read(rows) == [0, 0]
    assert await fetch(second, key) == b"a line\n"
    await second.close()


async def test_a_database_of_one_node_keeps_no_logs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='or use "disk"'):
        SharedLogs(DiskLogSettings(), FakeHost(tmp_path))


async def test_blobs_of_one_node_take_no_logs_of_all(db: Database, tmp_path: Path) -> None:
    host = FakeHost(tmp_path, hot_logs=DatabaseHotLogs(db, "a"))
    with pytest.raises(ConfigError, match="all nodes share"):
        SharedLogs(DiskLogSettings(), host)
