"""Build logs as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.testing.fake_host import FakeHost
from kedge.testing.log_store import CAP, LogStoreSuite
from kedge_disk.log_store import DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge import LogStore


async def opened(folder: Path) -> DiskLogs:
    store = DiskLogs(DiskLogSettings(max_bytes=CAP), FakeHost(folder))
    await store.open()
    return store


class TestDiskLogs(LogStoreSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LogStore]:
        self.folder = tmp_path / "data"
        store = await opened(self.folder)
        yield store
        await store.close()

    async def reopen(self, store: LogStore) -> LogStore:
        await store.close()
        return await opened(self.folder)
