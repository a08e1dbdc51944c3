"""Files of versions are unpacked once, shared, and cleared when nobody needs them."""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from kedge.errors import InstanceFailed
from kedge.testing.memory import MemoryBlobs
from kedge.workers.manifest import File, Manifest, file_key
from kedge.workers.version_files import VersionFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ACCOUNT = "a" * 32


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def store(blobs: Any, files: dict[str, bytes], *, executable: bool = False) -> Manifest:
    for content in files.values():
        await blobs.put(file_key(ACCOUNT, sha256(content).hexdigest()), pieces(content))
    return Manifest(
        {path: File(sha256(data).hexdigest(), len(data), executable) for path, data in files.items()},
        kind="command",
    )


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def files(tmp_path: Path, blobs: MemoryBlobs) -> VersionFiles:
    return VersionFiles(tmp_path / "files", blobs, most_unused=1)


async def test_files_lie_in_their_folders_and_cannot_be_written(
    files: VersionFiles, blobs: MemoryBlobs
) -> None:
    await files.open()
    manifest = await store(blobs, {"run": b"#!/bin/sh", "lib/deep/data": b"1"}, executable=True)
    unpacked = await files.take(ACCOUNT, manifest)
    assert (unpacked.files / "lib/deep/data").read_bytes() == b"1"
    assert (unpacked.files / "run").stat().st_mode & 0o777 == 0o555
    assert os.access(unpacked.cache, os.W_OK)


async def test_a_container_that_runs_as_another_user_can_read_them_whatever_the_umask(
    files: VersionFiles, blobs: MemoryBlobs
) -> None:
    before = os.umask(0o077)
    try:
        await files.open()
        unpacked = await files.take(ACCOUNT, await store(blobs, {"run": b"", "lib/deep/data": b"1"}))
    finally:
        os.umask(before)
    inside = [unpacked.files, *unpacked.files.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in inside if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in inside if path.is_file()} == {0o444}


async def test_versions_with_the_same_files_share_a_folder_that_is_unpacked_once(
    files: VersionFiles, blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await files.open()
    manifest = await store(blobs, {"a": b"1"})
    asked: list[str] = []
    get = blobs.get

    def counted(key: str, **options: Any) -> AsyncIterator[bytes]:
        asked.append(key)
        return get(key, **options)

    monkeypatch.setattr(blobs, "get", counted)
    taken = await asyncio.gather(*[files.take(ACCOUNT, manifest) for _ in range(5)])
    assert len({unpacked.folder for unpacked in taken}) == 1
    assert len(asked) == 1


async def test_accounts_share_nothing(files: VersionFiles, blobs: MemoryBlobs) -> None:
    await files.open()
    manifest = await store(blobs, {"a": b"1"})
    mine = await files.take(ACCOUNT, manifest)
    with pytest.raises(InstanceFailed, match="cannot be unpacked"):
        await files.take("b" * 32, manifest)
    assert mine.files.is_dir()


async def test_folders_that_nobody_uses_are_cleared_the_least_recent_first(
    files: VersionFiles, blobs: MemoryBlobs
) -> None:
    await files.open()
    taken = [await files.take(ACCOUNT, await store(blobs, {"a": b"%d" % n})) for n in range(3)]
    await files.give_back(taken[0].name)
    assert taken[0].folder.is_dir()
    await files.give_back(taken[1].name)
    assert [unpacked.folder.is_dir() for unpacked in taken] == [False, True, True]


async def test_a_restarted_node_finds_them_and_clears_what_is_half_done(
    files: VersionFiles, blobs: MemoryBlobs, tmp_path: Path
) -> None:
    await files.open()
    manifest = await store(blobs, {"a": b"1"})
    before = await files.take(ACCOUNT, manifest)
    (tmp_path / "files" / ".new-half").mkdir()
    after = VersionFiles(tmp_path / "files", MemoryBlobs(), most_unused=1)
    await after.open()
    assert (await after.take(ACCOUNT, manifest)).folder == before.folder
    assert not (tmp_path / "files" / ".new-half").exists()
