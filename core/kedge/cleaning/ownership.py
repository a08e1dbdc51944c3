"""Whose blobs these are: what one database knows nothing of may be needed by another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.db.queries import doomed as queries
from kedge.errors import BlobNotFound, Conflict

if TYPE_CHECKING:
    from kedge.contracts.blobs import BlobStore
    from kedge.db.engine import Database

OWNERS = "owners/"
NOTE = b"A database whose blobs are kept here. Delete this if that database is no more.\n"


class Ownership:
    """A blob for each database that keeps something in the store."""

    def __init__(self, db: Database, blobs: BlobStore, store: str) -> None:
        """`store` is what the database calls it."""
        self._db = db
        self._blobs = blobs
        self._store = store

    async def claim(self) -> None:
        """Let every other database see that this one keeps blobs here."""
        key = OWNERS + await self._db.write(queries.owner, self._store)
        try:
            await self._blobs.stat(key)
        except BlobNotFound:
            await self._blobs.put(key, NOTE)

    async def require(self) -> None:
        """Raise `Conflict` unless all blobs here are this database's own."""
        await self.claim()
        own = OWNERS + await self._db.write(queries.owner, self._store)
        others = [blob.key async for blob in self._blobs.list(OWNERS) if blob.key != own]
        if others:
            raise Conflict(
                "another database keeps blobs in this store too, and nothing is cleared away there: give "
                f"each a prefix or a folder of its own. If that database is no more, delete {others[0]}"
            )
