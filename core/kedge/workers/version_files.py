"""The files of versions, unpacked once on this node for all instances that share them."""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

import structlog

from kedge.errors import InstanceFailed, KedgeError
from kedge.workers.manifest import file_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge.contracts.blobs import BlobStore
    from kedge.workers.manifest import Manifest

log = structlog.get_logger("instances")

#: folders that are kept for the next start though no instance uses them
MOST_UNUSED = 16
#: contents that are fetched at once
FETCHES = 8
#: of one content that wait in memory to be written
WRITE_BYTES = 1024 * 1024
NEW = ".new-"


@dataclass(frozen=True)
class Unpacked:
    """A folder that nobody may change, and one beside it that instances may write to."""

    name: str
    folder: Path

    @property
    def files(self) -> Path:
        """The version's files."""
        return self.folder / "files"

    @property
    def cache(self) -> Path:
        """What goes with them, such as bytecode."""
        return self.folder / "cache"


class VersionFiles:
    """Folders by content: versions with the same files share one. Some that are not used are kept."""

    def __init__(self, root: Path, blobs: BlobStore, *, most_unused: int = MOST_UNUSED) -> None:
        """Keep folders below `root`."""
        self._root = root.absolute()
        self._blobs = blobs
        self._most_unused = most_unused
        self._users: dict[str, int] = {}
        self._unused: OrderedDict[str, None] = OrderedDict()
        self._unpacking: dict[str, asyncio.Task[Unpacked]] = {}

    async def open(self) -> None:
        """Find what an earlier node left, and clear what it left half done."""
        for name in await asyncio.to_thread(self._look):
            self._unused[name] = None
        await self._clean()

    async def take(self, account_id: str, manifest: Manifest) -> Unpacked:
        """The unpacked files, which stay until they are given back. Raises `InstanceFailed`."""
        name = sha256(f"{account_id} {manifest.tree}".encode()).hexdigest()[:32]
        self._users[name] = self._users.get(name, 0) + 1
        self._unused.pop(name, None)
        try:
            task = self._unpacking.get(name)
            if task is None:
                task = asyncio.create_task(self._unpack(name, account_id, manifest))
                self._unpacking[name] = task
                task.add_done_callback(lambda _: self._unpacking.pop(name, None))
            return await asyncio.shield(task)
        except BaseException:
            await self.give_back(name)
            raise

    async def give_back(self, name: str) -> None:
        """An instance does not need them any more."""
        self._users[name] -= 1
        if not self._users[name]:
            del self._users[name]
            self._unused[name] = None
            await self._clean()

    async def _unpack(self, name: str, account_id: str, manifest: Manifest) -> Unpacked:
        unpacked = Unpacked(name, self._root / name)
        if await asyncio.to_thread(unpacked.files.is_dir):
            return unpacked
        fresh = self._root / f"{NEW}{uuid4().hex}"
        try:
            await asyncio.to_thread(_make_folders, fresh, manifest)
            await self._fetch_all(fresh / "files", account_id, manifest)
            await asyncio.to_thread(fresh.rename, unpacked.folder)
        except (OSError, KedgeError) as error:
            raise InstanceFailed(f"the version's files cannot be unpacked on this node ({error})") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        return unpacked

    async def _fetch_all(self, folder: Path, account_id: str, manifest: Manifest) -> None:
        waiting = iter(manifest.files.items())

        async def fetch() -> None:
            for path, file in waiting:
                parts = self._blobs.get(file_key(account_id, file.sha256))
                await _write(folder / path, parts, executable=file.executable)

        await asyncio.gather(*[fetch() for _ in range(FETCHES)])

    async def _clean(self) -> None:
        while len(self._unused) > self._most_unused:
            name, _ = self._unused.popitem(last=False)
            aside = self._root / f"{NEW}{uuid4().hex}"
            try:
                await asyncio.to_thread((self._root / name).rename, aside)
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("old files are not removed", folder=name, reason=error.strerror)
                continue
            await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)

    def _look(self) -> list[str]:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[tuple[float, str]] = []
        for entry in self._root.iterdir():
            if entry.name.startswith(NEW):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                found.append((entry.stat().st_mtime, entry.name))
        return [name for _, name in sorted(found)]


def _make_folders(fresh: Path, manifest: Manifest) -> None:
    files = fresh / "files"
    files.mkdir(parents=True)
    (fresh / "cache").mkdir(mode=0o700)
    folders = {path.rpartition("/")[0] for path in manifest.files}
    for folder in sorted(folders):
        (files / folder).mkdir(parents=True, exist_ok=True)
    # a container that mounts them may run as another user
    for path in (fresh, files, *files.rglob("*")):
        path.chmod(0o755)


async def _write(path: Path, parts: AsyncIterator[bytes], *, executable: bool) -> None:
    waiting: list[bytes] = []
    size = 0
    with await asyncio.to_thread(path.open, "wb") as file:
        async for part in parts:
            waiting.append(part)
            size += len(part)
            if size >= WRITE_BYTES:
                await asyncio.to_thread(file.writelines, waiting)
                waiting, size = [], 0
        await asyncio.to_thread(_finish, path, file, waiting, 0o555 if executable else 0o444)


def _finish(path: Path, file: BinaryIO, parts: list[bytes], mode: int) -> None:
    file.writelines(parts)
    file.close()
    path.chmod(mode)
