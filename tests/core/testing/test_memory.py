"""The stores in memory keep the promises of real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.testing.blobs import BlobStoreSuite, fetch
from kedge.testing.log_store import CAP, LogStoreSuite, new_key
from kedge.testing.memory import MemoryBlobs, MemoryLogs

if TYPE_CHECKING:
    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.log_store import LogStore


class TestMemoryBlobs(BlobStoreSuite):
    @pytest.fixture
    async def store(self) -> BlobStore:
        return MemoryBlobs()

    async def reopen(self, store: BlobStore) -> BlobStore:
        assert isinstance(store, MemoryBlobs)
        return MemoryBlobs(shelf=store.shelf)


class TestMemoryLogs(LogStoreSuite):
    @pytest.fixture
    async def store(self) -> LogStore:
        return MemoryLogs(max_bytes=CAP)

    async def reopen(self, store: LogStore) -> LogStore:
        assert isinstance(store, MemoryLogs)
        return MemoryLogs(max_bytes=CAP, shelf=store.shelf)


async def test_blobs_fail_as_often_as_they_are_told() -> None:
    store = MemoryBlobs()
    store.failures += [OSError("full"), OSError("broken")]
    with pytest.raises(OSError, match="full"):
        await store.put("a", b"data")
    with pytest.raises(OSError, match="broken"):
        await fetch(store, "a")
    await store.put("a", b"data")
    assert await fetch(store, "a") == b"data"


async def test_logs_fail_as_often_as_they_are_told() -> None:
    store, key = MemoryLogs(), new_key()
    store.failures.append(OSError("full"))
    with pytest.raises(OSError, match="full"):
        await store.append(key, 0, b"data", time_ms=0)
    assert (await store.append(key, 0, b"data", time_ms=0)).size == 4
