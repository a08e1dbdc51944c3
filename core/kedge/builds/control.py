"""What users do to builds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlmodel import col, select

from kedge.build_states import Status
from kedge.builds.buddy import BuildBuddy
from kedge.db.clock import now_ms
from kedge.db.queries import intake, lifecycle
from kedge.db.tables import Build
from kedge.errors import Conflict, NotFound
from kedge.logs.topics import LogState

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.builds.services import BuildServices
    from kedge.objects import Objects


class Control:
    """Cancel and retry, within one account."""

    def __init__(self, services: BuildServices, objects: Objects) -> None:
        """Keep the services."""
        self._services = services
        self._objects = objects

    async def cancel(self, account_id: str, build_uuid: str) -> None:
        """End a build at whatever stage it is; returns once it has stopped, or is about to after a while.

        Raises `NotFound` for a foreign or unknown build, `Conflict` for one that has stopped.
        """
        await self._services.db.read(own_build, account_id, build_uuid)
        await self._objects.get(BuildBuddy, build_uuid).cancel()
        # One that is just being handed to compute is ended by whoever does that.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._services.settings.builds.stop_grace):
                await self._services.logs.wait_for_stop(build_uuid)

    async def retry(self, account_id: str, build_uuid: str) -> None:
        """Queue a stopped build for another attempt, with the trigger's settings of now.

        Raises `NotFound` for a foreign or unknown build, `Conflict` for one that has not stopped.
        """
        attempt = await self._services.db.write(_retry, account_id, build_uuid)
        self._services.logs.publish(build_uuid, LogState(part=attempt, status=Status.QUEUED))
        self._services.reports.tell(build_uuid, Status.QUEUED)
        self._services.wake_scheduler()

    async def cancel_trigger(self, account_id: str, trigger_uuid: str) -> None:
        """End every unfinished build of a trigger, all at once; those that wait before those that run.

        One that cannot be ended keeps none of the others from it, and is raised in the end.
        """
        unfinished = await self._services.db.read(_unfinished, account_id, trigger_uuid)
        ends = (self._cancel_unless_stopped(account_id, build_uuid) for build_uuid in unfinished)
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end

    async def _cancel_unless_stopped(self, account_id: str, build_uuid: str) -> None:
        with suppress(Conflict):
            await self.cancel(account_id, build_uuid)


def own_build(session: Session, account_id: str, build_uuid: str) -> Build:
    """A build of the account. Raises `NotFound` for a foreign or unknown one alike."""
    build, _ = lifecycle.current(session, build_uuid)
    if build.account_id != account_id:
        raise NotFound(f"there is no build {build_uuid}")
    return build


def _retry(session: Session, account_id: str, build_uuid: str) -> int:
    build = own_build(session, account_id, build_uuid)
    if build.status != Status.STOPPED:
        raise Conflict(f"the build is {build.status}: wait until it has stopped, or cancel it first")
    build.snapshot = intake.target(session, account_id, build.trigger_uuid).snapshot()
    build.infrastructure_retries = 0
    lifecycle.requeue(build, not_before=0, reason=None, now=now_ms())
    return build.attempt


def _unfinished(session: Session, account_id: str, trigger_uuid: str) -> list[str]:
    query = (
        select(Build.build_uuid)
        .where(Build.account_id == account_id, Build.trigger_uuid == trigger_uuid)
        .where(col(Build.status) != Status.STOPPED)
        .order_by(col(Build.claimed_on).is_not(None), col(Build.id))
    )
    return list(session.exec(query))
