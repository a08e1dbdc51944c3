"""Blobs as files."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from kedge import BlobDamaged, BlobNotFound, StoreRefused, StoreUnavailable
from kedge.testing.blobs import MEGABYTE, BlobStoreSuite, endless, fetch, keys
from kedge.testing.fake_host import FakeHost
from kedge_disk.blobs import DiskBlobs, DiskBlobSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge import BlobStore


async def opened(folder: Path, settings: DiskBlobSettings | None = None) -> DiskBlobs:
    store = DiskBlobs(settings or DiskBlobSettings(), FakeHost(folder))
    await store.open()
    return store


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestDiskBlobs(BlobStoreSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        self.folder = tmp_path / "data"
        store = await opened(self.folder)
        yield store
        await store.close()

    async def reopen(self, store: BlobStore) -> BlobStore:
        await store.close()
        return await opened(self.folder)


async def test_a_cancelled_put_leaves_no_file(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    arrived = asyncio.Event()
    puts = [
        asyncio.create_task(store.put("a", endless(b"x" * MEGABYTE, arrived))),
        asyncio.create_task(store.put("b", b"x" * 8 * MEGABYTE)),
    ]
    await arrived.wait()
    for put in puts:
        put.cancel()
    await asyncio.wait(puts)
    assert files(tmp_path) in ([], ["blobs/kept/b"])


async def test_what_a_killed_process_left_half_written_is_cleared_out(tmp_path: Path) -> None:
    await (await opened(tmp_path)).put("a", b"whole")
    (tmp_path / "blobs" / "incoming" / "half").write_bytes(b"ha")
    store = await opened(tmp_path)
    assert files(tmp_path) == ["blobs/kept/a"]
    assert await fetch(store, "a") == b"whole"


async def test_links_are_not_followed(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "blobs" / "kept" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BlobNotFound):
        await fetch(store, "link")
    with pytest.raises(BlobNotFound):
        await store.stat("link")
    assert await keys(store) == []


async def test_want_of_descriptors_is_not_taken_for_a_missing_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    await store.put("a", b"")

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreUnavailable, match="too many"):
            await fetch(store, "a")


async def test_readers_that_stop_early_or_are_cancelled_leave_no_descriptor_open(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.put("a", b"x" * 4 * MEGABYTE)
    await fetch(store, "a")
    before = descriptors()
    for turns in range(20):
        reader = asyncio.create_task(fetch(store, "a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
    assert descriptors() <= before


async def test_a_store_that_waits_for_the_disk_stores_as_well(tmp_path: Path) -> None:
    store = await opened(tmp_path, DiskBlobSettings(fsync=True))
    await store.put("a/b", b"data")
    assert await fetch(store, "a/b") == b"data"


@pytest.mark.parametrize("size", [0, 1, 100, 3 * MEGABYTE])
async def test_a_file_with_a_byte_changed_is_not_read_to_its_end(tmp_path: Path, size: int) -> None:
    store = await opened(tmp_path)
    await store.put("a", b"x" * size)
    path = tmp_path / "blobs" / "kept" / "a"
    whole = path.read_bytes()
    for place in {0, size // 2, max(size - 1, 0), *range(size, len(whole))}:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        # the length of the trailer is zstd's to read
        if not size + 4 <= place < size + 8:
            with pytest.raises(BlobDamaged):
                await fetch(store, "a")


async def test_a_file_cut_short_is_damaged_wherever_it_is_read(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.put("a", b"x" * 2 * MEGABYTE)
    path = tmp_path / "blobs" / "kept" / "a"
    size = path.stat().st_size
    for length in (size - 1, size - 20, MEGABYTE, 19, 0):
        os.truncate(path, length)
        for start, end in ((0, None), (0, 1), (5, 6)):
            with pytest.raises(BlobDamaged, match="a: the file was cut short"):
                await fetch(store, "a", start=start, end=end)


async def test_zstd_reads_a_compressed_blob_with_its_trailer(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.put("a.zst", zstandard.compress(b"text"))
    packed = (tmp_path / "blobs" / "kept" / "a.zst").read_bytes()
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        assert reader.read() == b"text"


HERE = Path(__file__).parent


def may_mount() -> bool:
    ran = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return ran.returncode == 0


@pytest.mark.skipif(not may_mount(), reason="this machine lets nobody mount a small disk of their own")
@pytest.mark.parametrize("script", ["fill_a_disk.py", "seal_on_a_full_disk.py"])
def test_a_full_disk_is_called_that_and_leaves_nothing(tmp_path: Path, script: str) -> None:
    """A real file system of two mebibytes, in a namespace of its own."""
    argv = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=2m none "$2" && exec "$0" "$1" "$2"']
    ran = subprocess.run(
        [*argv, sys.executable, str(HERE / script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("key", ["files/a", "files/deep/a"])
async def test_folders_that_are_links_lead_nowhere(tmp_path: Path, key: str) -> None:
    store = await opened(tmp_path / "data")
    other = await opened(tmp_path / "other")
    await other.put("a", b"secret")
    await other.put("deep/a", b"secret")
    (tmp_path / "data/blobs/kept/files+").symlink_to(tmp_path / "other/blobs/kept")
    for call in (fetch(store, key), store.stat(key)):
        with pytest.raises(BlobNotFound):
            await call
    with pytest.raises(StoreRefused, match="a link is in the way: remove it"):
        await store.put(key, b"planted")
    await store.delete(key)
    assert await keys(store) == []
    assert await fetch(other, "a") == await fetch(other, "deep/a") == b"secret"


async def test_a_folder_reached_by_a_link_of_the_operator_is_as_good_as_any(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    store = await opened(tmp_path / "link")
    await store.put("a/b", b"data")
    assert await fetch(store, "a/b") == b"data"
    assert (await store.stat("a/b")).size == 4


async def test_a_blob_replaced_as_it_is_opened_is_read_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    await store.put("a", b"old")
    path, really = tmp_path / "blobs/kept/a", os.open

    def replaced(*given: Any) -> int:
        file = really(*given)
        if given[0] == path:
            path.unlink()
        return file

    monkeypatch.setattr(os, "open", replaced)
    assert await fetch(store, "a") == b"old"


async def test_a_disk_that_folds_case_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None can be mounted everywhere; this one looks names up as such a disk does."""
    really = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: really(str(path).lower()) or really(path))
    folder = Path(str(tmp_path).lower())
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  (a test may wait)
    with pytest.raises(StoreRefused, match="capitals"):
        await opened(folder)
    assert files(folder) == []


async def test_a_disk_that_fails_is_called_that_by_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    await store.put("a/b", b"data")

    def fail(*_: object, **__: object) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        for name in ("open", "lstat", "unlink", "scandir", "replace", "stat"):
            patch.setattr(os, name, fail)
        for call in (fetch(store, "a/b"), store.stat("a/b"), store.delete("a/b"), keys(store)):
            with pytest.raises(StoreUnavailable, match="cannot serve just now"):
                await call
    assert await fetch(store, "a/b") == b"data"
    assert await keys(store) == ["a/b"]
