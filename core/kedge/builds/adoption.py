"""At the start of a node: what still runs is adopted, what is gone is tried again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from kedge.builds.buddy import BuildBuddy
from kedge.contracts.compute import ComputeState, Scope
from kedge.contracts.failures import Failure
from kedge.db.clock import now_ms
from kedge.db.queries import lifecycle, nodes
from kedge.errors import CapacityUnavailable, KedgeError

if TYPE_CHECKING:
    from kedge.builds.services import BuildServices
    from kedge.contracts.compute import ComputeStatus
    from kedge.db.tables import Attempt
    from kedge.objects import Objects

log = structlog.get_logger("adoption")

#: seconds between two tries, while compute or the database does not answer
PAUSE = 1.0


class Adoption:
    """Brings the database and compute to agree."""

    def __init__(self, services: BuildServices, objects: Objects, *, alone: bool) -> None:
        """`alone`: no other node is there. What was started before this moment can be found or lost."""
        self._services = services
        self._alone = alone
        self._objects = objects
        self._began = now_ms()

    async def run(self) -> None:
        """Adopt, mourn and reap. Call once, after compute has opened and before the scheduler starts.

        Where compute does not answer, that waits until it does: nothing is lost for want of an answer.
        """
        if self._alone:  # else the scheduler of one of the nodes does
            await finish_what_was_ended(self._services, self._objects, before=self._began)
        try:
            await self._compare()
        except CapacityUnavailable as error:
            log.warning("adoption_waits", reason=str(error))
            self._services.background.start(self._compare_later())

    async def _compare_later(self) -> None:
        reason = ""
        while True:
            await asyncio.sleep(PAUSE)
            try:
                return await self._compare()
            except Exception as error:
                # nobody else would look again as long as this node lives
                if str(error) != reason:
                    reason = str(error)
                    log.warning("adoption_waits", reason=reason, exc_info=not isinstance(error, KedgeError))

    async def _compare(self) -> None:
        # in this order, so that what is started meanwhile is in the second if it is in the first
        there = {(one.build_uuid, one.attempt): one for one in await self._services.compute.list()}
        living = await self._services.db.read(nodes.names) - {self._services.settings.node.name}
        for attempt in await self._services.db.read(lifecycle.unfinished_attempts, self._node()):
            status = there.pop((attempt.build_uuid, attempt.number), None)
            # One that a living node has not handed to compute yet is not lost.
            is_old = attempt.started_on < self._began and attempt.node not in living
            if status is not None or is_old:
                await self._settle(attempt, status)
        for status in there.values():
            await self._reap(status)

    def _node(self) -> str | None:
        services = self._services
        return services.settings.node.name if services.compute.scope is Scope.NODE else None

    async def _settle(self, attempt: Attempt, status: ComputeStatus | None) -> None:
        buddy = self._objects.get(BuildBuddy, attempt.build_uuid)
        if status is None:
            await buddy.lose(attempt.number, Failure.LOST, "the node restarted and its runner was gone")
            return
        log.info("adopted", build=attempt.build_uuid, attempt=attempt.number, state=status.state)
        if attempt.compute_id is None:
            await buddy.record_start(attempt.number, status.compute_id)
        if status.state in {ComputeState.EXITED, ComputeState.GONE}:
            await buddy.handle_exit(status)

    async def _reap(self, status: ComputeStatus) -> None:
        log.info("reaped", build=status.build_uuid, attempt=status.attempt, state=status.state)
        await self._services.compute.stop(status.compute_id, grace=0)
        await self._services.compute.forget(status.compute_id)


async def finish_what_was_ended(services: BuildServices, objects: Objects, *, before: int) -> None:
    """See to builds whose attempt was ended `before` by a node that died before it could say what follows."""
    for build_uuid, attempt in await services.db.read(lifecycle.unfinished_claims, before):
        await objects.get(BuildBuddy, build_uuid).resume_end(attempt)
