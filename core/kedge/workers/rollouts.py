"""Deployments that wait for their instances: they serve once these answer, and not before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from kedge.db.queries import deployments as queries
from kedge.db.queries import nodes
from kedge.errors import KedgeError, Overloaded, StoreUnavailable
from kedge.workers.warm_up import change_of, told

if TYPE_CHECKING:
    from kedge.db.engine import Database
    from kedge.db.tables import Deployment
    from kedge.workers.deployments import Deployments
    from kedge.workers.instances import Instances
    from kedge.workers.urls import WorkerUrls
    from kedge.workers.warm_up import WarmUp

log = structlog.get_logger("rollouts")

#: between two looks for deployments that nobody looks after
SWEEP_SECONDS = 2.0
#: between two looks at one that another node looks after
LOOK_SECONDS = 0.5


class Rollouts:
    """Has the versions of a deployment answer, and then lets it serve; or tells why it does not.

    What served before serves until then, and for ever if that fails.
    """

    def __init__(
        self,
        db: Database,
        deployments: Deployments,
        instances: Instances,
        *,
        warm_up: WarmUp,
        node: str = "",
    ) -> None:
        """From now on `deployments` wait for instances; `node` is this one."""
        self._db = db
        self._node = node
        self._deployments = deployments
        self._instances = instances
        self._warm_up = warm_up
        self._running: dict[str, asyncio.Task[None]] = {}
        deployments.start_by(self.start)

    def start(self, uuid: str, urls: WorkerUrls) -> None:
        """Begin with a deployment that is stored. Once is enough; twice does no harm."""
        if uuid not in self._running:
            self._running[uuid] = asyncio.create_task(self._run(uuid, urls))
            self._running[uuid].add_done_callback(lambda _: self._running.pop(uuid, None))

    async def keep_recovering(self, urls: WorkerUrls) -> None:
        """For ever: begin anew with those that a node which has ended left waiting, this one included."""
        while True:
            there = await self._db.read(nodes.names)
            others = there - {self._node}
            if set(await self._db.read(queries.starting, but=others)) - self._running.keys():
                for uuid in await self._db.write_rows(queries.take_up, self._node, but=others):
                    self.start(uuid, urls)
            await asyncio.sleep(SWEEP_SECONDS)

    async def outcome(self, uuid: str, *, patience: float) -> Deployment | None:
        """The deployment, as soon as it waits no more or after `patience` seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        task = self._running.get(uuid)
        if task is not None:
            await asyncio.wait((task,), timeout=patience)
        while True:
            deployment = await self._db.read(queries.by_uuid, uuid)
            waits = deployment is not None and deployment.state == queries.STARTING
            if not waits or asyncio.get_running_loop().time() >= deadline:
                return deployment
            # another node starts its instances
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Give up; the next node begins anew."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, uuid: str, urls: WorkerUrls) -> None:
        try:
            await self._switch(uuid, urls)
        except StoreUnavailable as error:
            log.warning("deployment waits for the database", deployment=uuid, reason=str(error))

    async def _switch(self, uuid: str, urls: WorkerUrls) -> None:
        change = await self._db.read(change_of, uuid)
        try:
            await self._warm_up.everywhere(change, uuid)
            switched = await self._deployments.settle(uuid, None, urls)
        except Overloaded:
            # the node is stopping
            return
        except KedgeError as error:
            await self._deployments.settle(uuid, told(error), urls)
            log.warning("deployment failed; what served before goes on", deployment=uuid, reason=str(error))
            return
        if switched:
            # not always this one: a later deployment may have been quicker
            serving = (await self._db.read(change_of, uuid)).before
            for version_id in change.before - serving:
                self._instances.drain(version_id)
