"""Stores more than a small disk can hold, and looks at what is left."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from kedge import StoreUnavailable
from kedge.testing.blobs import MEGABYTE, fetch, keys, stream
from kedge.testing.fake_host import FakeHost
from kedge_disk.blobs import DiskBlobs, DiskBlobSettings


async def fill(folder: Path) -> None:
    store = DiskBlobs(DiskBlobSettings(), FakeHost(folder))
    await store.open()
    await store.put("kept", b"x" * MEGABYTE)
    large = b"y" * MEGABYTE
    for key, data in (("new", large * 3), ("kept", large * 3), ("streamed", stream(large, large, large))):
        with pytest.raises(StoreUnavailable, match="the disk is full: free some space"):
            await store.put(key, data)
    assert await keys(store) == ["kept"]
    assert await fetch(store, "kept") == b"x" * MEGABYTE
    assert not list((folder / "blobs" / "incoming").iterdir())
    await store.delete("kept")
    await store.put("new", large)
    assert await fetch(store, "new") == large


asyncio.run(fill(Path(sys.argv[1])))
