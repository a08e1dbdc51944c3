"""Deployments that wait for their instances: they serve once these answer, and not before."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog

from kedge.db.queries import deployments as queries
from kedge.db.queries import nodes
from kedge.errors import InstanceFailed, KedgeError, Overloaded, StoreUnavailable
from kedge.workers.manifest import STATIC

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.db.engine import Database
    from kedge.db.tables import Deployment
    from kedge.workers.deployments import Deployments
    from kedge.workers.instances import Instances
    from kedge.workers.urls import WorkerUrls

log = structlog.get_logger("rollouts")

#: between two looks for deployments that nobody looks after
SWEEP_SECONDS = 2.0
#: between two looks at one that another node looks after
LOOK_SECONDS = 0.5


class Rollouts:
    """Starts an instance of each version of a deployment, and then lets it serve; or tells why it does not.

    What served before serves until then, and for ever if that fails.
    """

    def __init__(
        self, db: Database, deployments: Deployments, instances: Instances, *, node: str = ""
    ) -> None:
        """From now on `deployments` wait for instances; `node` is this one."""
        self._db = db
        self._node = node
        self._deployments = deployments
        self._instances = instances
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
        wanted, before = await self._db.read(_versions, uuid)
        try:
            async with AsyncExitStack() as stack:
                # held until the versions serve, so that they are not idle
                await asyncio.gather(
                    *[stack.enter_async_context(self._instances.lease(one)) for one in wanted]
                )
                switched = await self._deployments.settle(uuid, None, urls)
        except Overloaded:
            # the node is stopping
            return
        except KedgeError as error:
            await self._deployments.settle(uuid, _failure(error), urls)
            log.warning("deployment failed; what served before goes on", deployment=uuid, reason=str(error))
            return
        if switched:
            for version_id in before - wanted:
                self._instances.drain(version_id)


def _versions(session: Session, uuid: str) -> tuple[set[str], set[str]]:
    """The versions that need instances: of the deployment, and of what serves now."""
    deployment = queries.by_uuid(session, uuid)
    if deployment is None:
        return set(), set()
    current = queries.serving(session, deployment.worker_id)
    return _running(session, deployment), _running(session, current) if current else set()


def _running(session: Session, deployment: Deployment) -> set[str]:
    traffic = queries.versions_of(session, deployment)
    return {one.version.id for one in traffic if one.version.kind != STATIC}


def _failure(error: KedgeError) -> dict[str, Any]:
    if isinstance(error, InstanceFailed):
        return {"reason": error.reason, "probes": list(error.probes), "tail": error.tail}
    return {"reason": str(error), "probes": [], "tail": ""}
