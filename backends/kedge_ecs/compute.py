"""The compute backend `ecs`: each attempt as a task of its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import structlog

from kedge import AttemptName, Attempts, CapacityUnavailable, ComputeError, ComputeState, Scope, StartRefused
from kedge_ecs.attempt import ARN, Attempt, name_in
from kedge_ecs.service import Service, StartedBefore
from kedge_ecs.settings import EcsSettings
from kedge_ecs.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pydantic import BaseModel

    from kedge import ComputeRequest, ComputeStatus, Host

log = structlog.get_logger("ecs")

LONGEST_PAUSE = 30.0
#: seconds for which a task that was started may be unknown to DescribeTasks
SETTLING = 60.0
#: forgotten tasks that are remembered as such: ECS tells of stopped ones for an hour
REMEMBERED = 20_000
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class EcsCompute:
    """Runs each attempt as a task, which any node finds again."""

    name: ClassVar[str] = "ecs"
    Settings: ClassVar[type[BaseModel]] = EcsSettings
    scope: Scope = Scope.CLUSTER
    adopts: ClassVar[bool] = True

    def __init__(self, settings: EcsSettings, host: Host) -> None:
        """Keep `settings`."""
        self._settings = settings
        self._host = host
        places = settings.places(host.location)
        self._services = [Service(settings, place) for place in places]
        self._everywhere = [
            Tasks(service, settings, place) for service, place in zip(self._services, places, strict=True)
        ]
        #: where this node starts builds; others may start them elsewhere
        self._here = self._everywhere[0]
        self._attempts: Attempts[Attempt] = Attempts()
        self._forgotten: dict[str, None] = {}
        self._looked = False

    async def open(self) -> None:
        """Adopt what runs; an ECS that does not answer is asked again later. Raises `ConfigError`."""
        for service in self._services:
            await service.open()
        try:
            await self._look()
        except ComputeError as error:
            log.warning("ecs_not_reached", reason=str(error))
        self._watch = asyncio.create_task(self._poll())

    async def start(self, request: ComputeRequest) -> str:
        """Run a task, or return the one that was run for this attempt."""
        name = AttemptName.of(request.build_uuid, request.attempt)
        return await self._attempts.start(name, lambda: self._start(name, request))

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt; ECS is asked about one whose end is not known."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None and attempt.end is None:
            with suppress(ComputeError):
                await self._refresh([attempt])
        elif attempt is None:
            await self._find(compute_id)
        return self._attempts.status(compute_id)

    def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        return self._attempts.exits()

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask ECS to end the task. The grace is `stop_timeout`: ECS fixes it when the task starts."""
        attempt = self._attempts.get(compute_id) or await self._find(compute_id)
        if attempt is not None:
            await self._attempts.safely(self._stop(attempt))

    async def list(self) -> list[ComputeStatus]:
        """All attempts that ECS or this node knows of and that have not been stopped or forgotten."""
        await self._attempts.started()
        try:
            await self._look()
        except StartRefused as error:
            raise CapacityUnavailable(str(error)) from error
        return await self._attempts.listed()

    async def forget(self, compute_id: str) -> None:
        """Speak of it no more; ECS itself forgets a stopped task in an hour."""
        attempt = self._attempts.ended(compute_id)
        if attempt is None:
            return
        self._attempts.drop(attempt)
        self._forgotten[compute_id] = None
        if len(self._forgotten) > REMEMBERED:
            del self._forgotten[next(iter(self._forgotten))]

    async def close(self) -> None:
        """Let go of everything; running tasks go on."""
        self._watch.cancel()
        self._attempts.cancel(starts=False)
        await asyncio.wait([self._watch])
        await self._attempts.close()
        for service in self._services:
            await service.close()

    async def _start(self, name: AttemptName, request: ComputeRequest) -> str:
        try:
            task = await self._here.run(request, self._endpoint(request))
        except StartedBefore:
            # by a node with other settings, or by this one before they were changed
            await self._look()
            if (known := self._attempts.id_of(name)) is None:
                raise
            return known
        attempt = self._keep(task["taskArn"], name)
        self._learn(attempt, task)
        return attempt.compute_id

    def _endpoint(self, request: ComputeRequest) -> str:
        endpoint = self._settings.url or request.endpoint
        if endpoint.startswith("unix:"):
            endpoint = self._host.public_url
        if (urlsplit(endpoint).hostname or "") in LOOPBACK:
            raise StartRefused(
                f"a task on ECS cannot reach Kedge at {endpoint}; set compute.ecs.url or server.public_url"
            )
        return endpoint

    def _keep(self, arn: str, name: AttemptName) -> Attempt:
        attempt = self._attempts.get(arn)
        if attempt is None:
            since = time.monotonic()
            attempt = Attempt(compute_id=arn, name=name, since=since, state=ComputeState.STARTING)
            self._attempts.keep(attempt)
        return attempt

    def _adopt(self, task: dict[str, Any]) -> Attempt | None:
        """Take in a task that any node has started; None for one that is not a build's, or forgotten."""
        name = name_in(task.get("tags", []))
        if name is None or task["taskArn"] in self._forgotten:
            return None
        attempt = self._keep(task["taskArn"], name)
        self._learn(attempt, task)
        return attempt

    def _learn(self, attempt: Attempt, task: dict[str, Any]) -> None:
        self._attempts.tell(attempt.learn(task))

    async def _find(self, compute_id: str) -> Attempt | None:
        if not ARN.fullmatch(compute_id) or compute_id in self._forgotten:
            return None
        try:
            tasks = await self._of(compute_id).describe([compute_id])
        except StartRefused:
            return None
        return self._adopt(tasks[0]) if tasks else None

    async def _look(self) -> None:
        for tasks in await asyncio.gather(*[tasks.all() for tasks in self._everywhere]):
            for task in tasks:
                self._adopt(task)
        self._looked = True

    def _of(self, compute_id: str) -> Tasks:
        """Where a task is, or would be."""
        return next((one for one in self._everywhere if one.may_hold(compute_id)), self._here)

    async def _refresh(self, attempts: Sequence[Attempt]) -> None:
        """Ask for these, each where it is; one place that does not answer keeps nothing from others."""
        by_place: dict[Tasks, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            by_place[self._of(attempt.compute_id)].append(attempt)
        asked = [self._refresh_at(tasks, some) for tasks, some in by_place.items()]
        for failed in await asyncio.gather(*asked, return_exceptions=True):
            if failed is not None:
                raise failed

    async def _refresh_at(self, tasks: Tasks, attempts: Sequence[Attempt]) -> None:
        asked = time.monotonic()
        found = {one["taskArn"]: one for one in await tasks.describe([a.compute_id for a in attempts])}
        for attempt in attempts:
            task = found.get(attempt.compute_id)
            if task is not None:
                self._learn(attempt, task)
            elif asked - attempt.since > SETTLING:
                self._attempts.tell(attempt.lose())

    async def _poll(self) -> None:
        """One loop for all tasks, slower while ECS does not answer."""
        pause = self._settings.poll
        while True:
            # nodes that were started together should not ask together
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                if live := self._attempts.live:
                    await self._refresh(live)
                if not self._looked:
                    await self._look()
                pause = self._settings.poll
            except Exception as error:
                # nobody else hears of the tasks' ends
                log.warning("ecs_gone", reason=str(error), exc_info=not isinstance(error, ComputeError))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _stop(self, attempt: Attempt) -> None:
        attempt.stopping = True
        pause = self._settings.poll
        while attempt.end is None:
            try:
                await self._of(attempt.compute_id).stop(attempt.compute_id)
                break
            except CapacityUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except StartRefused as error:
                # it may be unknown because it is over; the loop finds out
                log.warning("task_not_stopped", task=attempt.compute_id, reason=str(error))
                break
        await attempt.ended.wait()
        attempt.stopped = True
