"""Deleting what nothing needs while others store and look: nobody relies on a blob that is about to go."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from kedge.db.clock import now_ms
from kedge.db.queries import doomed as queries
from kedge.errors import StoreError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.db.engine import Database

log = structlog.get_logger("cleaning")

AT_ONCE = 8
#: what could not be deleted in this time is left to whoever comes later
DELETE_WITHIN_MS = 60 * 1000
#: after this long whoever doomed it is gone, and with it every request it has made of the store
LOST_AFTER_MS = 10 * 60 * 1000
#: the longest that an upload waits for what it needs to be gone
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.05


class DoomedBlobs:
    """The blobs of a store that are being deleted, by this node or another.

    A key is doomed by the transaction which sees that nothing needs it, and free again once it is gone.
    Whoever is about to need it says so in the database first, and in the same transaction looks whether it
    is doomed: of the two transactions one comes first, so that either the blob stays or the other waits.
    """

    def __init__(self, db: Database, blobs: BlobStore, node: str) -> None:
        """`node` is the name of this one."""
        self._db = db
        self._blobs = blobs
        self._node = node
        self._made_on = now_ms()
        #: see `DoomedBlob.store`
        self.store = "" if blobs.shared else node

    async def delete(
        self, keys: Collection[str], needed: Callable[[Session, Collection[str]], Collection[str]]
    ) -> list[str]:
        """Delete those of `keys` that are not `needed`; return what is gone. Raises what `needed` does."""
        now = now_ms()
        return await self._delete(await self._db.write(self._doom, keys, needed, now), now)

    def _doom(
        self,
        session: Session,
        keys: Collection[str],
        needed: Callable[[Session, Collection[str]], Collection[str]],
        now: int,
    ) -> list[str]:
        kept = needed(session, keys)
        unneeded = (key for key in keys if key not in kept)
        return queries.add(session, unneeded, store=self.store, node=self._node, now=now)

    async def delete_left(self) -> None:
        """Go on with what this node had doomed before it was ended, and with what others left lying."""
        now = now_ms()
        left = await self._db.write(
            queries.take_over,
            self.store,
            node=self._node,
            own_before=self._made_on,
            before=now - LOST_AFTER_MS,
            now=now,
        )
        await self._delete(left, now)

    async def wait(self, keys: Collection[str]) -> None:
        """Return once none of `keys` is doomed. Raises `StoreUnavailable` if that takes too long."""
        end = time.monotonic() + PATIENCE_SECONDS
        while doomed := await self._db.read(queries.among, self.store, keys):
            if min(doomed.values()) < now_ms() - LOST_AFTER_MS:
                await self.delete_left()
            elif time.monotonic() > end:
                raise StoreUnavailable("files that this needs are being cleared away: try again in a minute")
            await asyncio.sleep(LOOK_SECONDS)

    async def _delete(self, keys: Collection[str], since: int) -> list[str]:
        waiting = iter(keys)
        gone: list[str] = []
        refused: list[str] = []

        async def work() -> None:
            for key in waiting:
                if now_ms() - since > DELETE_WITHIN_MS:
                    return
                try:
                    await self._blobs.delete(key)
                    gone.append(key)
                except StoreRefused as error:
                    refused.append(key)
                    log.warning("a blob may not be deleted", key=key, reason=str(error))
                except StoreError as error:
                    # Nobody knows whether it is gone: it stays doomed, and is deleted again.
                    log.warning("a blob cannot be deleted now", key=key, reason=str(error))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        if gone or refused:
            await self._db.write(queries.forget, self.store, [*gone, *refused])
        return gone
