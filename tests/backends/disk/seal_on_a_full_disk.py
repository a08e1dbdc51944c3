"""Seals a log where there is no room for it, and again where there is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from kedge import StoreUnavailable
from kedge.testing.fake_host import FakeHost
from kedge.testing.log_store import fetch, new_key
from kedge_disk.log_store import DiskLogs, DiskLogSettings

LINE = b"a line of its own\n"


async def seal(folder: Path) -> None:
    store, key = DiskLogs(DiskLogSettings(max_bytes=1024 * 1024), FakeHost(folder)), new_key()
    await store.open()
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        for number in range(3000):
            await store.append(key, number, LINE * 40, time_ms=number)
        kept = await fetch(store, key)
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass
    with pytest.raises(StoreUnavailable, match="the disk is full: free some space"):
        await store.append(key, 3000, LINE * 40000, time_ms=0)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the disk is full: free some space"):
            await store.seal(key)
        extent = await store.extent(key)
        assert (extent.sealed, extent.next_number) == (False, 3000)
        assert await fetch(store, key) == kept
    await store.close()
    store = DiskLogs(DiskLogSettings(max_bytes=1024 * 1024), FakeHost(folder))
    await store.open()
    assert await fetch(store, key) == kept
    (folder / "ballast").unlink()
    assert (await store.seal(key)).sealed
    assert await fetch(store, key) == kept
    left = [path.name for path in (folder / "logs").rglob("*") if path.is_file()]
    assert sorted(left) == sorted(f"{key}.{end}" for end in ("idx", "zst"))
    await store.close()


asyncio.run(seal(Path(sys.argv[1])))
