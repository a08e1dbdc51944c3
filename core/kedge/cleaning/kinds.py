"""What Kedge keeps in the blob store, and which rows of the database need it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Protocol

from kedge.cleaning.needed_files import NeededFiles
from kedge.db.queries import needs
from kedge.workers.manifest import Manifest, manifest_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.db.queries.needs import ManifestName


class Unread(Exception):
    """Nobody knows yet which files these manifests name."""

    def __init__(self, manifests: Collection[ManifestName]) -> None:
        """They have to be `read`."""
        super().__init__(manifests)
        self.manifests = manifests


class Kind(Protocol):
    """One kind of blob."""

    name: ClassVar[str]
    #: whether the account stands behind it in each key
    by_account: ClassVar[bool]

    def needed(self, session: Session, keys: Collection[str]) -> set[str]:
        """Which of these blobs some row needs, or may need: a key that is none of Kedge's is. `Unread`."""
        ...


class Files:
    """Contents of versions, each named by any number of manifests."""

    name: ClassVar[str] = "files"
    by_account: ClassVar[bool] = True

    def __init__(self, blobs: BlobStore, without: Collection[str] = ()) -> None:
        """Find what there would be without the versions that have these ids."""
        self._blobs = blobs
        self._without = without
        self._needed = NeededFiles()
        self._read: set[ManifestName] = set()

    def needed(self, session: Session, keys: Collection[str]) -> set[str]:
        """Those that a manifest of the same account names. Raises `Unread`."""
        names = {key: parts for key in keys if len(parts := key.split("/")) == 4}
        accounts = {account for _, account, _, _ in names.values()}
        unread = needs.manifests(session, accounts, self._without) - self._read
        if unread:
            raise Unread(unread)
        return {key for key in keys if key not in names or self._needed.has(names[key][1], names[key][3])}

    async def read(self, manifests: Collection[ManifestName]) -> None:
        """Look into manifests. Raises as the store does: without all of them nothing can be told."""
        for name in manifests:
            data = b"".join([part async for part in self._blobs.get(manifest_key(*name))])
            await asyncio.to_thread(self._take_in, name, data)

    def _take_in(self, name: ManifestName, data: bytes) -> None:
        self._needed.add(name.account_id, Manifest.from_json(data).sizes)
        self._read.add(name)


class Manifests:
    """Manifests of versions and of uploads under way."""

    name: ClassVar[str] = "manifests"
    by_account: ClassVar[bool] = True

    def __init__(self, without: Collection[str] = ()) -> None:
        """Find what there would be without the versions that have these ids."""
        self._without = without

    def needed(self, session: Session, keys: Collection[str]) -> set[str]:
        """Those of a version or an upload."""
        accounts = {parts[1] for key in keys if len(parts := key.split("/")) == 3}
        known = {manifest_key(*name) for name in needs.manifests(session, accounts, self._without)}
        return {key for key in keys if key in known or key.count("/") != 2}


class CacheArchives:
    """Archives of build caches, whose life their own rows rule: here go those that have lost theirs."""

    name: ClassVar[str] = "cache"
    by_account: ClassVar[bool] = True

    def needed(self, session: Session, keys: Collection[str]) -> set[str]:
        """Those that have a row."""
        return _with_rows(keys, 4, lambda ids: needs.archives(session, ids))


class SealedLogs:
    """Logs of builds and of workers that are no more."""

    name: ClassVar[str] = "logs"
    by_account: ClassVar[bool] = False

    def needed(self, session: Session, keys: Collection[str]) -> set[str]:
        """Those of a build, or of a worker on whatever node."""

        def known(names: set[str]) -> set[str]:
            builds = {name: name.split(".")[0] for name in names}
            workers = {name: build.rpartition("-")[0] for name, build in builds.items()}
            found = needs.builds(session, set(builds.values())) | needs.workers(
                session, set(workers.values())
            )
            return {name for name in names if builds[name] in found or workers[name] in found}

        return _with_rows(keys, 3, known)


def _with_rows(keys: Collection[str], parts: int, known: Callable[[set[str]], set[str]]) -> set[str]:
    """The keys whose last part is `known`, and those that do not have so many parts."""
    names = {key: key.rpartition("/")[2] for key in keys if key.count("/") == parts - 1}
    found = known(set(names.values()))
    return {key for key in keys if key not in names or names[key] in found}
