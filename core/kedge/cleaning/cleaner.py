"""Clears away old versions, and the blobs that nothing needs: of versions, of workers, of broken uploads."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from kedge.cleaning.kinds import CacheArchives, Files, Kind, Manifests, SealedLogs, Unread
from kedge.cleaning.ownership import Ownership
from kedge.cleaning.report import Amount, Report
from kedge.db.clock import now_ms
from kedge.db.queries import doomed as doomed_queries
from kedge.db.queries import needs
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from kedge.config.settings import RetentionSettings
    from kedge.contracts.blobs import BlobStore
    from kedge.db.engine import Database
    from kedge.db.tables import Version
    from kedge.workers.doomed import DoomedBlobs

log = structlog.get_logger("cleaning")

#: by the store's clock: what was stored since may be on its way to where it is needed
YOUNG = timedelta(days=1)
#: blobs that one transaction decides on
BATCH = 200
EVERY_SECONDS = 24 * 3600.0
#: between two looks whether it is time
LOOK_SECONDS = 3600.0


class Cleaner:
    """The cleaner of a node. A second call waits for the first one's end."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        doomed: DoomedBlobs,
        settings: RetentionSettings,
        changed: Callable[[str], None],
        *,
        young: timedelta = YOUNG,
    ) -> None:
        """`changed` is told the names of workers that have lost versions."""
        self._db = db
        self._blobs = blobs
        self._doomed = doomed
        self._settings = settings
        self._changed = changed
        self._young = young
        self._ownership = Ownership(db, blobs, doomed.store)
        self._turn = asyncio.Lock()

    async def look(self, account_id: str | None = None) -> Report:
        """What `clean` would clear away now; nothing is changed. Raises `Conflict` as it does."""
        async with self._turn:
            await self._ownership.require()
            versions = await self._db.read(needs.expired, self._rules(), account_id)
            without = {version.id for version in versions}
            return await self._walk(versions, account_id, without, self._unneeded)

    async def clean(self, account_id: str | None = None) -> Report:
        """Clear away what an account does not need, or all that nothing does; safe beside everything else.

        What the store cannot do now is left for another time. Raises `Conflict` where another database
        keeps blobs in the same store.
        """
        async with self._turn:
            await self._ownership.require()
            await self._doomed.delete_left()
            versions, workers = await self._db.write(needs.remove_expired, self._rules(), account_id)
            for worker in workers:
                self._changed(worker)
            return await self._walk(versions, account_id, (), self._delete)

    async def keep_cleaning(self) -> None:
        """Clean every day, one node of those that share a store."""
        while True:
            try:
                await self._ownership.claim()
                await self._doomed.delete_left()
                if await self._is_time():
                    self._tell(await self.clean())
            except KedgeError as error:
                log.warning("nothing is cleared away for now", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311

    async def _is_time(self) -> bool:
        now = now_ms()
        # a little early, lest the hour slips from day to day
        last_before = now - int((EVERY_SECONDS - LOOK_SECONDS / 2) * 1000)
        return await self._db.write(
            doomed_queries.begin_cleaning, self._doomed.store, now=now, last_before=last_before
        )

    def _tell(self, report: Report) -> None:
        log.info(
            "cleared away what nothing needed",
            versions=len(report.versions),
            blobs=report.count,
            bytes=report.size,
        )

    def _rules(self) -> needs.Rules:
        kept = self._settings
        since = now_ms() - int(kept.versions_for * 1000)
        return needs.Rules(versions=kept.versions, since=since, deployments=kept.deployments)

    async def _walk(
        self,
        versions: Collection[Version],
        account_id: str | None,
        without: Collection[str],
        act: Callable[[Kind, Collection[str]], Awaitable[Collection[str]]],
    ) -> Report:
        report = Report(versions=list(versions))
        kinds: list[Kind] = [Files(self._blobs, without), Manifests(without), CacheArchives(), SealedLogs()]
        for kind in kinds:
            if account_id is not None and not kind.by_account:
                continue
            amount = report.blobs[kind.name] = Amount()
            prefix = f"{kind.name}/" if account_id is None else f"{kind.name}/{account_id}/"
            try:
                async for batch in self._old(prefix):
                    found = await act(kind, batch.keys())
                    amount.count += len(found)
                    amount.size += sum(batch[key] for key in found)
            except KedgeError as error:
                amount.trouble = str(error)
                log.warning("nothing more of this kind is cleared away", kind=kind.name, reason=str(error))
        return report

    async def _old(self, prefix: str) -> AsyncIterator[dict[str, int]]:
        """Sizes by key of what was stored long ago, some at a time."""
        horizon = datetime.now(UTC) - self._young
        batch: dict[str, int] = {}
        async for blob in self._blobs.list(prefix):
            if blob.modified_on < horizon:
                batch[blob.key] = blob.size
            if len(batch) == BATCH:
                yield batch
                batch = {}
        if batch:
            yield batch

    async def _unneeded(self, kind: Kind, keys: Collection[str]) -> Collection[str]:
        async def ask() -> Collection[str]:
            needed = await self._db.read(kind.needed, keys)
            return [key for key in keys if key not in needed]

        return await _once_read(kind, ask)

    async def _delete(self, kind: Kind, keys: Collection[str]) -> Collection[str]:
        # Asked for reading first: most of what there is is needed, and then nobody is held up.
        unneeded = await self._unneeded(kind, keys)
        if not unneeded:
            return []

        async def ask() -> Collection[str]:
            return await self._doomed.delete(unneeded, kind.needed)

        return await _once_read(kind, ask)


async def _once_read(kind: Kind, ask: Callable[[], Awaitable[Collection[str]]]) -> Collection[str]:
    """Ask again as long as there are manifests that nobody has read."""
    while True:
        try:
            return await ask()
        except Unread as unread:
            assert isinstance(kind, Files)  # noqa: S101  (nothing else raises it)
            await kind.read(unread.manifests)
