"""Where a worker shall run, read and changed after it was deployed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kedge.db.queries import deployments
from kedge.db.queries.versions import find_worker
from kedge.errors import Conflict, InvalidInput
from kedge.workers.completion import Wish
from kedge.workers.manifest import Manifest, manifest_key
from kedge.workers.placement_wishes import check_placement
from kedge.workers.versions import NewVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.host import Principal
    from kedge.db.engine import Database
    from kedge.db.tables import Version, Worker
    from kedge.workers.urls import WorkerUrls
    from kedge.workers.versions import Versions


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A worker and where its production version shall run: `{}` for where its requests come in."""

    worker: Worker
    wish: Mapping[str, Any]


class PlacementSettings:
    """A version is immutable: a change of its placement makes a new one of the same files, and deploys it."""

    def __init__(self, db: Database, blobs: BlobStore, versions: Versions) -> None:
        """Keep the parts."""
        self._db = db
        self._blobs = blobs
        self._versions = versions

    async def find(self, account_id: str, worker: str) -> Placed:
        """What is so now. Raises `NotFound`."""
        found, serving = await self._db.read(_look, account_id, worker)
        run = (await self._manifest(serving[0])).run if serving else None
        return Placed(worker=found, wish={} if run is None else run.placement)

    async def change(
        self, principal: Principal, worker: str, given: Mapping[str, Any], urls: WorkerUrls
    ) -> str | None:
        """Let the worker run where `given` says; return the deployment, `None` if it does so already.

        Raises `InvalidInput` for what cannot be, `NotFound`, and `Conflict` for a worker that does not
        serve yet or whose traffic is split.
        """
        wish = check_placement(given)
        found, serving = await self._db.read(_look, principal.account_id, worker)
        if not serving:
            raise Conflict(f"worker {found.name} does not serve yet: deploy it first")
        if len(serving) > 1:
            raise Conflict(
                "its traffic is split between two versions: give all of it to one first, by a deployment"
            )
        manifest = await self._manifest(serving[0])
        if manifest.run is None:
            if wish:
                raise InvalidInput("files alone are served where visitors are: there is nothing to place")
            return None
        if manifest.run.placement == wish:
            return None
        new = NewVersion(
            manifest=replace(manifest, run=replace(manifest.run, placement=wish)),
            commit_hash=serving[0].commit_hash,
            branch=serving[0].branch,
            message="Placement was changed",
        )
        begun = await self._versions.begin(principal, found.id, new)
        wished = Wish(deploy=True, alias=None, urls=urls)
        return (await self._versions.complete(principal, found.id, begun.upload_id, wished)).deployment_id

    async def _manifest(self, version: Version) -> Manifest:
        key = manifest_key(version.account_id, version.digest)
        data = b"".join([part async for part in self._blobs.get(key)])
        return await asyncio.to_thread(Manifest.from_json, data)


def _look(session: Session, account_id: str, worker: str) -> tuple[Worker, list[Version]]:
    found = find_worker(session, account_id, worker)
    return found, [traffic.version for traffic in deployments.current_traffic(session, found.id)]
