"""Build logs as files."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from kedge import StoreUnavailable
from kedge.testing.fake_host import FakeHost
from kedge.testing.log_store import CAP, LogStoreSuite, fetch, new_key, numbered, write
from kedge_disk.hot import segment_path
from kedge_disk.log_store import MOST_OPEN, DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge import LogKey, LogStore

KILLED = Path(__file__).parent / "killed_while_sealing.py"


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


def hot_files(folder: Path) -> dict[str, Path]:
    """The files of the one log that is being written, by name."""
    (log,) = (folder / "logs" / "hot").iterdir()
    return {path.name: path for path in log.iterdir()}


def sealed_file(folder: Path) -> Path:
    (path,) = (folder / "logs" / "sealed").rglob("*.zst")
    return path


def log_files_open(folder: Path) -> int:
    targets = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(target.is_relative_to(folder) for target in targets)


async def test_a_torn_tail_is_cut_off_at_the_last_whole_chunk(tmp_path: Path) -> None:
    chunks, key = [b"first\n", b"second\n", b"the third\n"], new_key()
    store = await opened(tmp_path / "whole")
    await write(store, key, chunks[:2])
    sizes = {name: path.stat().st_size for name, path in hot_files(tmp_path / "whole").items()}
    await store.append(key, 2, chunks[2], time_ms=0)
    await store.close()
    torn = 0
    for name, path in hot_files(tmp_path / "whole").items():
        for size in range(sizes[name], path.stat().st_size):
            folder = tmp_path / f"{name}-{size}"
            shutil.copytree(tmp_path / "whole", folder)
            os.truncate(hot_files(folder)[name], size)
            await check_torn(folder, key, chunks)
            torn += 1
    assert torn > 50


async def check_torn(folder: Path, key: LogKey, chunks: list[bytes]) -> None:
    """The last chunk is not there, can be sent again, and leaves a log that is whole."""
    store = await opened(folder)
    assert await fetch(store, key, end=1000) == b"".join(chunks[:2])
    assert (await store.extent(key)).next_number == 2
    again = [b"!", b"another end\n"]
    await write(store, key, again, first=2)
    await store.seal(key)
    model = b"".join([*chunks[:2], *again])
    assert await fetch(store, key) == model
    packed = sealed_file(folder).read_bytes()
    whole = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    assert whole.read() == model
    await store.close()


async def test_a_damaged_last_record_does_not_count(tmp_path: Path) -> None:
    store, key = await opened(tmp_path), new_key()
    await write(store, key, [b"first\n", b"second\n"])
    await store.close()
    index = hot_files(tmp_path)["index"]
    record = index.read_bytes()
    index.write_bytes(record[:-1] + bytes([record[-1] ^ 1]))
    store = await opened(tmp_path)
    assert await fetch(store, key) == b"first\n"
    await store.close()


async def test_a_full_disk_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key, pwrite = await opened(tmp_path), new_key(), os.pwrite
    await write(store, key, [b"first\n"])
    room = [7]

    def write_a_little(descriptor: int, data: bytes, position: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space left")
        written = pwrite(descriptor, data[: room[0]], position)
        room[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write_a_little)
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await store.append(key, 1, b"a second one that finds no room\n", time_ms=0)
    assert await fetch(store, key) == b"first\n"
    await store.seal(key)
    assert unpacked(sealed_file(tmp_path)) == b"first\n"


def unpacked(path: Path) -> bytes:
    """What `zstd -d` makes of a file."""
    return subprocess.run(["zstd", "-dc", "--", path], capture_output=True, check=True).stdout


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
@pytest.mark.parametrize("count", [0, 1, 20, 200])
async def test_any_zstd_reads_a_sealed_log(tmp_path: Path, count: int) -> None:
    store, key, chunks = await opened(tmp_path), new_key(), numbered(count, 16 * 1024)
    await write(store, key, chunks)
    extent = await store.seal(key)
    model = b"".join(chunks)
    kept = model[: extent.gap_start] + model[extent.gap_end :]
    assert (unpacked(sealed_file(tmp_path)) if count else b"") == kept
    assert not list((tmp_path / "logs" / "hot").iterdir())
    assert len(list((tmp_path / "logs" / "sealed").rglob("*.*"))) == 2


async def test_files_open_do_not_grow_with_the_number_of_logs(tmp_path: Path) -> None:
    store, keys = await opened(tmp_path), [new_key() for _ in range(MOST_OPEN * 2)]
    await asyncio.gather(*[write(store, key, [b"one\n", b"two\n"]) for key in keys])
    await asyncio.gather(*[store.extent(key) for key in keys])
    assert log_files_open(tmp_path) <= 2 * MOST_OPEN
    for key in keys:
        await store.append(key, 2, b"three\n", time_ms=0)
        assert await fetch(store, key) == b"one\ntwo\nthree\n"
    assert log_files_open(tmp_path) <= 2 * MOST_OPEN
    await asyncio.gather(*[store.seal(key) for key in keys])
    assert log_files_open(tmp_path) == 0
    assert not store._locks


async def test_readers_that_stop_early_or_are_cancelled_leave_no_file_open(tmp_path: Path) -> None:
    store, key = await opened(tmp_path), new_key()
    await write(store, key, numbered(40, 100_000))
    await store.seal(key)
    for turns in range(20):
        reader = asyncio.create_task(fetch(store, key))
        for _ in range(turns):
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
    assert log_files_open(tmp_path) == 0


async def test_a_long_log_takes_little_memory(tmp_path: Path) -> None:
    store = DiskLogs(DiskLogSettings(max_bytes=256 * CAP), FakeHost(tmp_path))
    await store.open()
    key, data = new_key(), numbered(1, 256 * 1024)[0]
    tracemalloc.start()
    try:
        for number in range(256):
            await store.append(key, number, data, time_ms=0)
        await store.seal(key)
        size = 0
        async for chunk in store.read(key):
            size += len(chunk.data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 64 * CAP
    assert peak < 8 * CAP


async def test_a_reader_bears_a_hot_log_that_is_half_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key, chunks = await opened(tmp_path), new_key(), numbered(60, 16 * 1024)
    await write(store, key, chunks)
    monkeypatch.setattr("kedge_disk.reader.BATCH_BYTES", 1)
    reader = store.read(key)
    found = [(await anext(reader)).data]

    def remove_some(folder: Path, **_: object) -> None:
        for number in range(1, 5):
            segment_path(folder, number).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove_some)
        await store.seal(key)
        found += [chunk.data async for chunk in reader]
    assert b"".join(found) == b"".join(chunks)


async def test_what_a_kill_left_of_a_sealed_log_is_cleared_out(tmp_path: Path) -> None:
    store, key = await opened(tmp_path), new_key()
    await write(store, key, [b"data"])
    hot = tmp_path / "logs" / "hot" / f"{key}"
    shutil.copytree(hot, tmp_path / "copy")
    await store.seal(key)
    shutil.copytree(tmp_path / "copy", hot)
    store = await opened(tmp_path)
    assert not list(hot.parent.iterdir())
    assert await fetch(store, key) == b"data"


def killed(folder: Path) -> list[Path]:
    """What the killed processes left."""
    return sorted(folder.glob("killed-*"))


@pytest.mark.parametrize(("count", "stride"), [(3, 1), (200, 31)], ids=["one segment", "with a gap"])
async def test_a_kill_at_any_point_of_sealing_loses_nothing(tmp_path: Path, count: int, stride: int) -> None:
    store, key, chunks = await opened(tmp_path / "before"), new_key(), numbered(count, 16 * 1024)
    extent = await write(store, key, chunks)
    kept = await fetch(store, key)
    await store.close()
    driver = [sys.executable, str(KILLED), str(tmp_path), key.log_id, str(stride)]
    process = await asyncio.create_subprocess_exec(*driver)
    assert await process.wait() == 0
    folders = killed(tmp_path)
    assert len(folders) > 20
    for folder in folders:
        store = await opened(folder)
        found = await store.extent(key)
        assert replace(found, sealed=False) == extent
        assert await fetch(store, key) == kept
        assert await store.seal(key) == replace(extent, sealed=True)
        assert await fetch(store, key) == kept
        assert not list((folder / "logs" / "hot").iterdir())
        assert len([path for path in (folder / "logs" / "sealed").rglob("*") if path.is_file()]) == 2
        await store.close()
