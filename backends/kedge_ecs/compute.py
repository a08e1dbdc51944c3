"""The compute backend `ecs`: each attempt as a task of its own."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import structlog

from kedge import CapacityUnavailable, ComputeError, ComputeState, ComputeStatus, Scope, StartRefused
from kedge_ecs.attempt import ARN, ID, Attempt, name_in
from kedge_ecs.service import Service, StartedBefore
from kedge_ecs.settings import EcsSettings
from kedge_ecs.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from pydantic import BaseModel

    from kedge import ComputeRequest, Host

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
        place = settings.place(host.location)
        self._service = Service(settings, place)
        self._tasks = Tasks(self._service, settings, place)
        self._attempts: dict[str, Attempt] = {}
        self._ids: dict[tuple[str, int], str] = {}
        self._starts: dict[tuple[str, int], asyncio.Task[str]] = {}
        self._forgotten: dict[str, None] = {}
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()
        self._works: set[asyncio.Task[Any]] = set()
        self._looked = False

    async def open(self) -> None:
        """Adopt what runs; an ECS that does not answer is asked again later. Raises `ConfigError`."""
        await self._service.open()
        try:
            await self._look()
        except ComputeError as error:
            log.warning("ecs_not_reached", reason=str(error))
        self._watch = asyncio.create_task(self._poll())

    async def start(self, request: ComputeRequest) -> str:
        """Run a task, or return the one that was run for this attempt."""
        name = (request.build_uuid, request.attempt)
        if name in self._ids:
            return self._ids[name]
        if name not in self._starts:
            self._starts[name] = self._spawn(self._start(request))
            self._starts[name].add_done_callback(lambda _: self._starts.pop(name))
        return await asyncio.shield(self._starts[name])

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt; ECS is asked about one whose end is not known."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None and attempt.end is None:
            with suppress(ComputeError):
                await self._refresh([attempt])
        elif attempt is None:
            attempt = await self._find(compute_id)
        if attempt is None:
            return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)
        return attempt.status

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask ECS to end the task. The grace is `stop_timeout`: ECS fixes it when the task starts."""
        attempt = self._attempts.get(compute_id) or await self._find(compute_id)
        if attempt is not None:
            await asyncio.shield(self._spawn(self._stop(attempt)))

    async def list(self) -> list[ComputeStatus]:
        """All attempts that ECS or this node knows of and that have not been stopped or forgotten."""
        if self._starts:
            await asyncio.wait(list(self._starts.values()))
        try:
            await self._look()
        except StartRefused as error:
            raise CapacityUnavailable(str(error)) from error
        return [attempt.status for attempt in self._attempts.values() if not attempt.stopped]

    async def forget(self, compute_id: str) -> None:
        """Speak of it no more; ECS itself forgets a stopped task in an hour."""
        attempt = self._attempts.get(compute_id)
        if attempt is None or attempt.end is None:
            return
        del self._attempts[compute_id]
        self._ids.pop((attempt.build_uuid, attempt.attempt), None)
        self._forgotten[compute_id] = None
        if len(self._forgotten) > REMEMBERED:
            del self._forgotten[next(iter(self._forgotten))]

    async def close(self) -> None:
        """Let go of everything; running tasks go on."""
        self._watch.cancel()
        starts = set(self._starts.values())
        for work in self._works - starts:
            work.cancel()
        if pending := {self._watch, *self._works}:
            await asyncio.wait(pending)
        self._exits.put_nowait(None)
        await self._service.close()

    async def _start(self, request: ComputeRequest) -> str:
        if not ID.fullmatch(request.build_uuid) or request.attempt < 0:
            raise StartRefused(f"{request.build_uuid!r} is not the id of a build")
        try:
            task = await self._tasks.run(request, self._endpoint(request))
        except StartedBefore:
            # by a node with other settings, or by this one before they were changed
            await self._look()
            name = (request.build_uuid, request.attempt)
            if name not in self._ids:
                raise
            return self._ids[name]
        attempt = self._keep(task["taskArn"], request.build_uuid, request.attempt)
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

    def _keep(self, arn: str, build_uuid: str, number: int) -> Attempt:
        attempt = self._attempts.get(arn)
        if attempt is None:
            since = time.monotonic()
            attempt = Attempt(compute_id=arn, build_uuid=build_uuid, attempt=number, since=since)
            self._attempts[arn] = attempt
            self._ids[build_uuid, number] = arn
        return attempt

    def _adopt(self, task: dict[str, Any]) -> Attempt | None:
        """Take in a task that any node has started; None for one that is not a build's, or forgotten."""
        name = name_in(task.get("tags", []))
        if name is None or task["taskArn"] in self._forgotten:
            return None
        attempt = self._keep(task["taskArn"], *name)
        self._learn(attempt, task)
        return attempt

    def _learn(self, attempt: Attempt, task: dict[str, Any]) -> None:
        if (end := attempt.learn(task)) is not None:
            self._exits.put_nowait(end)

    async def _find(self, compute_id: str) -> Attempt | None:
        if not ARN.fullmatch(compute_id) or compute_id in self._forgotten:
            return None
        try:
            tasks = await self._tasks.describe([compute_id])
        except StartRefused:
            return None
        return self._adopt(tasks[0]) if tasks else None

    async def _look(self) -> None:
        for task in await self._tasks.all():
            self._adopt(task)
        self._looked = True

    async def _refresh(self, attempts: Sequence[Attempt]) -> None:
        asked = time.monotonic()
        found = {one["taskArn"]: one for one in await self._tasks.describe([a.compute_id for a in attempts])}
        for attempt in attempts:
            task = found.get(attempt.compute_id)
            if task is not None:
                self._learn(attempt, task)
            elif asked - attempt.since > SETTLING and (end := attempt.lose()) is not None:
                self._exits.put_nowait(end)

    async def _poll(self) -> None:
        """One loop for all tasks, slower while ECS does not answer."""
        pause = self._settings.poll
        while True:
            # nodes that were started together should not ask together
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                if not self._looked:
                    await self._look()
                if alive := [one for one in self._attempts.values() if one.end is None]:
                    await self._refresh(alive)
                pause = self._settings.poll
            except ComputeError as error:
                log.warning("ecs_gone", reason=str(error))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _stop(self, attempt: Attempt) -> None:
        attempt.stopping = True
        pause = self._settings.poll
        while attempt.end is None:
            try:
                await self._tasks.stop(attempt.compute_id)
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

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        # whoever waited has seen the error; nobody may be left to
        if not task.cancelled():
            task.exception()
