"""Versions, looked up for those who run them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kedge.contracts.compute import Limits
from kedge.contracts.runtime import InstanceKind
from kedge.db.tables import Version, Worker
from kedge.errors import Conflict, NotFound
from kedge.workers.manifest import STATIC, Manifest, manifest_key
from kedge.workers.run_spec import RunSpec
from kedge.workers.runnable import Runnable

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.db.engine import Database
    from kedge.secrets import SecretBox


class Runnables:
    """Puts together what instances are made from."""

    def __init__(self, db: Database, blobs: BlobStore, secrets: SecretBox) -> None:
        """Keep the parts."""
        self._db = db
        self._blobs = blobs
        self._secrets = secrets

    async def load(self, version_id: str) -> Runnable:
        """A version with its secrets. Raises `NotFound`, or `Conflict` for one that is files alone."""
        version, worker = await self._db.read(_find, version_id)
        key = manifest_key(version.account_id, version.digest)
        data = b"".join([part async for part in self._blobs.get(key)])
        return await asyncio.to_thread(self._runnable, version, worker, data)

    def _runnable(self, version: Version, worker: str, data: bytes) -> Runnable:
        manifest = Manifest.from_json(data)
        run = manifest.run or RunSpec()
        return Runnable(
            account_id=version.account_id,
            worker_id=version.worker_id,
            worker=worker,
            version_id=version.id,
            kind=InstanceKind(version.kind),
            entry=run.entry,
            image=run.image,
            manifest=manifest,
            variables=run.variables,
            secrets={name: self._secrets.decrypt(value.encode()) for name, value in version.secrets.items()},
            health=run.health,
            concurrency=run.concurrency,
            max_instances=run.max_instances,
            limits=Limits(memory_bytes=run.memory_bytes),
        )


def _find(session: Session, version_id: str) -> tuple[Version, str]:
    version = session.get(Version, version_id)
    worker = session.get(Worker, version.worker_id) if version is not None else None
    if version is None or worker is None:
        raise NotFound(f"there is no version {version_id[:80]!r}")
    if version.kind == STATIC:
        raise Conflict(f"version {version_id} is files alone: it has no instances")
    return version, worker.name
