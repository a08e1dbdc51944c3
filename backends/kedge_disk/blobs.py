"""Blobs as files."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from kedge import AbsolutePath, BlobInfo, BlobNotFound, Conflict, StoreRefused, check_blob_key
from kedge_disk.files import Reader, Writer, content_size, is_file, translated
from kedge_disk.places import leads_elsewhere, refuse_folded_case
from kedge_disk.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator
    from datetime import timedelta

    from kedge import Host, PresignedRequest, SignedParts

#: stands behind the name of every folder, so that `a` and `a/b` can both be keys
FOLDER = "+"
LIST_BATCH = 1000


class DiskBlobSettings(BaseModel):
    """`[blobs.disk]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: AbsolutePath | None = Field(
        default=None, description="A folder that every node mounts, if not one of this node's data dir."
    )
    fsync: bool = Field(default=False, description="Wait for the disk before a blob counts as stored.")


class DiskBlobs:
    """A file for each blob, below `blobs` in the data dir; new ones are written beside and moved in.

    So a full disk or a kill leaves nothing that is half written where anybody looks.
    """

    name: ClassVar[str] = "disk"
    Settings: ClassVar[type[BaseModel]] = DiskBlobSettings
    shared: bool = False

    def __init__(self, settings: DiskBlobSettings, host: Host) -> None:
        """Keep the folders' names."""
        self.shared = settings.folder is not None
        self._fsync = settings.fsync
        base = settings.folder or host.data_dir / "blobs"
        self._root = base / "kept"
        # Beside the kept ones, so that moving in is one step; each node's own, for another may be writing.
        self._incoming = base / "incoming" / host.node if self.shared else base / "incoming"

    async def open(self) -> None:
        """Make the folders and clear out what a killed process left half written."""
        await asyncio.to_thread(self._open)

    @property
    def excludes(self) -> bool:
        """Links are made once: the file system sees to it."""
        return True

    def _open(self) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        with translated():
            self._root.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(parents=True, exist_ok=True)
            # links above may be the operator's; below there are none
            self._root = self._root.resolve()
            refuse_folded_case(self._incoming)

    async def put(
        self, key: str, data: bytes | Path | AsyncIterable[bytes], *, if_absent: bool = False
    ) -> BlobInfo:
        """Store `data` whole under `key`, or nothing at all."""
        target = self._path(key)
        incoming = self._incoming / uuid4().hex
        try:
            if isinstance(data, bytes | Path):
                await in_thread(_write_whole, incoming, data, self._fsync)
            else:
                await _write_stream(incoming, data, self._fsync)
            return await in_thread(_move_in, incoming, target, self._root, key, if_absent)
        finally:
            with suppress(FileNotFoundError):
                incoming.unlink()

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes `start` to `end`; a small blob costs one hop to a thread."""
        reader, data = await in_thread(_open_and_read, self._path(key), key, start, end, undo=_forget)
        if reader is None:
            yield data
            return
        try:
            yield data
            while not reader.is_done:
                yield await in_thread(reader.read)
        finally:
            reader.close()

    async def stat(self, key: str) -> BlobInfo:
        """Describe a blob."""
        return await asyncio.to_thread(_describe_below, self._root, self._path(key), key)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Yield the blobs whose key starts with `prefix`, ordered by key."""
        walk = _walk(self._root, "", prefix)
        while batch := await in_thread(_take, walk, LIST_BATCH):
            for info in batch:
                yield info

    async def delete(self, key: str) -> None:
        """Remove a blob; folders that become empty stay."""
        await asyncio.to_thread(_remove, self._root, self._path(key))

    async def presign(
        self,
        key: str,
        method: Literal["GET", "PUT"],
        *,
        expires: timedelta,
        size: int | None = None,
        md5: bytes | None = None,
    ) -> PresignedRequest | None:
        """Files have no URL."""
        self._path(key)
        return None

    @property
    def signed_parts(self) -> SignedParts | None:
        """Files have no URL."""
        return None

    async def close(self) -> None:
        """Nothing is held open."""

    def _path(self, key: str) -> Path:
        check_blob_key(key)
        *folders, name = key.split("/")
        return self._root.joinpath(*[folder + FOLDER for folder in folders], name)


def _write_whole(target: Path, data: bytes | Path, fsync: bool) -> None:  # noqa: FBT001  (passed on to a thread)
    with closing(Writer(target)) as writer:
        writer.copy(data) if isinstance(data, Path) else writer.write(data)
        writer.finish(fsync=fsync)


async def _write_stream(target: Path, data: AsyncIterable[bytes], fsync: bool) -> None:  # noqa: FBT001
    writer = await in_thread(Writer, target)
    try:
        async for part in data:
            await in_thread(writer.write, part)
        await in_thread(partial(writer.finish, fsync=fsync))
    finally:
        await in_thread(writer.close)


def _move_in(incoming: Path, target: Path, root: Path, key: str, if_absent: bool) -> BlobInfo:  # noqa: FBT001
    with translated():
        info = _describe(incoming, key)
        if leads_elsewhere(root, target.parent):
            raise StoreRefused(f"{target.parent}: a link is in the way: remove it, for Kedge makes none")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not if_absent:
            incoming.replace(target)
            return info
        try:
            os.link(incoming, target)
        except FileExistsError:
            raise Conflict(f"the blob {key} is there already") from None
        return info


def _remove(root: Path, path: Path) -> None:
    if leads_elsewhere(root, path.parent):
        return
    with translated(), suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def _describe_below(root: Path, path: Path, key: str) -> BlobInfo:
    if leads_elsewhere(root, path.parent):
        raise BlobNotFound(f"there is no blob {key}")
    return _describe(path, key)


def _describe(path: Path, key: str) -> BlobInfo:
    try:
        with translated():
            stat = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise BlobNotFound(f"there is no blob {key}") from None
    if not is_file(stat):
        raise BlobNotFound(f"there is no blob {key}")
    modified = datetime.fromtimestamp(stat.st_mtime, UTC)
    return BlobInfo(key=key, size=content_size(stat), modified_on=modified)


def _open_and_read(path: Path, key: str, start: int, end: int | None) -> tuple[Reader | None, bytes]:
    """The first bytes; the reader stays open only if there are more."""
    reader = Reader(path, key, start, end)
    try:
        reader.require_place()
        data = reader.read()
    except BaseException:
        reader.close()
        raise
    if reader.is_done:
        reader.close()
        return None, data
    return reader, data


def _forget(opened: tuple[Reader | None, bytes]) -> None:
    if opened[0] is not None:
        opened[0].close()


def _walk(folder: Path, above: str, prefix: str) -> Iterator[BlobInfo]:
    # A folder sorts as its name with the slash behind it: then the walk comes in the order of keys.
    with translated(), os.scandir(folder) as entries:
        ordered = sorted(
            (entry.name.removesuffix(FOLDER) + "/" if entry.name.endswith(FOLDER) else entry.name, entry.path)
            for entry in entries
            if not entry.is_symlink()
        )
    for name, path in ordered:
        key = above + name
        if name.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(Path(path), key, prefix)
        elif key.startswith(prefix):
            with suppress(BlobNotFound):
                yield _describe(Path(path), key)


def _take(walk: Iterator[BlobInfo], count: int) -> list[BlobInfo]:
    return list(islice(walk, count))
