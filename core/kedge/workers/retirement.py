"""Instances on this node that nothing is left for, because of what another node has changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kedge.db.queries.deployments import serving_versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.db.engine import Database
    from kedge.workers.instances import Instances

#: a change that this node is not told of is seen after so long
SWEEP_SECONDS = 1.0


class Retirement:
    """Drains a version that serves no more, and ends the instances of a worker that has been removed.

    A version that never served is left alone: somebody may look at its preview, or its deployment begins.
    """

    def __init__(self, db: Database, instances: Instances) -> None:
        """Nothing has been seen serving yet."""
        self._db = db
        self._instances = instances
        self._served: set[str] = set()
        self._subscribers: list[Callable[[str], None]] = []
        self._changed = asyncio.Event()

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Call `changed(worker's name)` before instances of it are drained: no request may come to them."""
        self._subscribers.append(changed)

    def look(self) -> None:
        """Another node has deployed or removed something."""
        self._changed.set()

    async def run(self) -> None:
        """Look until cancelled; a node that has its database for itself does so when it changes something."""
        while self._db.shared:
            self._changed.clear()
            await self.sweep()
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> None:
        """Compare what runs here with what serves."""
        here = self._instances.versions
        names = self._instances.workers
        workers = set(here.values())
        serving = await self._db.read(serving_versions, workers) if workers else {}
        for worker_id in workers - serving.keys():
            await self._instances.end_worker(worker_id)
        now = {
            version_id for version_id, worker_id in here.items() if version_id in serving.get(worker_id, ())
        }
        for version_id in self._served - now:
            for changed in self._subscribers if version_id in here else ():
                changed(names[here[version_id]])
            self._instances.drain(version_id)
        self._served = now
