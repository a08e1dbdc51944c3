"""The compute backend `docker`: each attempt in a container of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import structlog

from kedge import (
    CapacityUnavailable,
    ComputeRequest,
    ComputeState,
    ComputeStatus,
    ConfigError,
    Scope,
    StartRefused,
)
from kedge_docker.attempt import Attempt
from kedge_docker.channel import assignment_of
from kedge_docker.container import shape_of
from kedge_docker.containers import Containers, Gone, NameTaken
from kedge_docker.door import UNIX, Door
from kedge_docker.engine import Engine, EngineGone
from kedge_docker.labels import AttemptName
from kedge_docker.settings import DockerSettings
from kedge_docker.warm import WarmPool
from kedge_docker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from pydantic import BaseModel

    from kedge import Host
    from kedge_docker.channel import Channel
    from kedge_docker.warm import Waiting

log = structlog.get_logger("docker")

#: containers that are tried for one start, should they end waiting
TRIES = 3
REMEMBERED = 256
NO_QUOTAS = "the engine's disk has no quotas, as xfs with pquota has; a workspace in memory can be limited"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class DockerCompute:
    """Runs each attempt in a fresh container, which lives on when Kedge does not."""

    name: ClassVar[str] = "docker"
    Settings: ClassVar[type[BaseModel]] = DockerSettings
    scope: ClassVar[Scope] = Scope.NODE
    adopts: ClassVar[bool] = True

    def __init__(self, settings: DockerSettings, host: Host) -> None:
        """Keep `settings`."""
        self._settings = settings
        self._host = host
        self._door = Door(host.data_dir)
        self._engine = Engine(settings)
        self._attempts: dict[str, Attempt] = {}
        self._ids: dict[AttemptName, str] = {}
        self._starts: dict[AttemptName, asyncio.Task[str]] = {}
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: ends of containers that nobody knew yet: one may end before its start is over
        self._early: deque[str] = deque(maxlen=REMEMBERED)
        self._looked = False

    async def open(self) -> None:
        """Adopt what runs and start what will wait; an engine that does not answer is waited for later.

        Raises `ConfigError` if the engine may not be used or the folder cannot be made.
        """
        owner = await asyncio.to_thread(self._prepare_folder)
        self._containers = Containers(self._engine, self._settings, owner)
        self._watch = Watch(self._containers, ended=self._ended, look=self._look)
        shape = shape_of(self._settings, self._door, self._usual())
        self._pool = WarmPool(self._containers, shape, self._settings.warm)
        with suppress(EngineGone):
            await self._look()
        self._watch.open()

    async def start(self, request: ComputeRequest) -> str:
        """Give the attempt to a container that waits, or to a new one."""
        name = AttemptName.of(request.build_uuid, request.attempt)
        if name in self._ids:
            return self._ids[name]
        if name not in self._starts:
            self._starts[name] = self._spawn(self._start(name, request))
            self._starts[name].add_done_callback(lambda _: self._starts.pop(name))
        return await asyncio.shield(self._starts[name])

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        attempt = self._attempts.get(compute_id)
        if attempt is None:
            return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)
        return attempt.status

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask the runner to end, then kill its container. Waits for an engine that is gone."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None:
            await asyncio.shield(self._spawn(self._stop(attempt, grace)))

    async def list(self) -> list[ComputeStatus]:
        """All attempts that have a container and have not been stopped. Raises `CapacityUnavailable`
        if the engine has not answered since this node started.
        """
        if not self._looked:
            await self._look()
        if self._starts:
            await asyncio.wait(list(self._starts.values()))
        return [attempt.status for attempt in self._attempts.values() if not attempt.stopped]

    async def forget(self, compute_id: str) -> None:
        """Remove the container of an ended attempt. One that still runs is left alone."""
        attempt = self._attempts.get(compute_id)
        if attempt is None or attempt.end is None:
            return
        del self._attempts[compute_id]
        del self._ids[attempt.name]
        try:
            await self._containers.remove(compute_id)
        except EngineGone as error:
            # its exit has been dealt with: when the engine is back it is found, and reaped
            log.warning("container_not_removed", container=compute_id, reason=str(error))

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        await self._pool.close()
        await self._watch.close()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._exits.put_nowait(None)
        await self._engine.close()

    def _prepare_folder(self) -> str:
        """Make the door, and return the name by which this Kedge's containers are known. Blocks."""
        folder = self._host.data_dir / "docker"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._host.endpoint.startswith(UNIX):
                self._door.open(self._host.endpoint)
            return _read_or_make(folder / "owner", lambda: uuid4().hex)
        except OSError as error:
            raise ConfigError([f"server.data_dir: {folder} cannot be used ({error})"]) from error

    def _usual(self) -> ComputeRequest:
        """What most requests are like, as far as the shape of a container goes."""
        return ComputeRequest(build_uuid="", attempt=0, endpoint=self._host.endpoint, token="", trusted=True)

    async def _start(self, name: AttemptName, request: ComputeRequest) -> str:
        self._check_reach(request)
        shape = shape_of(self._settings, self._door, request)
        assignment = assignment_of(request, self._door)
        for _ in range(TRIES):
            try:
                waiting = self._pool.take(shape)
                if waiting is None:
                    container_id, channel = await self._containers.create(shape, name, dict(request.labels))
                else:
                    container_id, channel = await self._give(waiting, name)
            except NameTaken:
                return await self._find(name)
            except Gone:
                continue
            self._keep(Attempt(compute_id=container_id, name=name))
            try:
                await self._engine.run(partial(_send, channel, assignment))
            except EngineGone:
                await self._abandon(container_id, name)
                continue
            return container_id
        raise CapacityUnavailable("containers end before they get their job; look into the engine's log")

    async def _give(self, waiting: Waiting, name: AttemptName) -> tuple[str, Channel]:
        try:
            await self._containers.rename(waiting.container_id, name)
        except BaseException:
            waiting.channel.close()
            self._spawn(self._remove(waiting.container_id))
            raise
        return waiting.container_id, waiting.channel

    async def _find(self, name: AttemptName) -> str:
        """The container that has the attempt's name: an earlier start was not heard of."""
        await self._look()
        if name not in self._ids:
            raise StartRefused(f"a container named {name} that is not this Kedge's is in the way; remove it")
        return self._ids[name]

    def _check_reach(self, request: ComputeRequest) -> None:
        if request.endpoint.startswith(UNIX):
            if self._settings.engine.startswith("tcp:"):
                raise StartRefused(
                    "an engine on another machine cannot use the socket of this one; set server.public_url "
                    "to where its containers reach Kedge"
                )
        elif urlsplit(request.endpoint).hostname in LOOPBACK:
            raise StartRefused(
                f"containers cannot reach {request.endpoint}, which is their own loopback; set "
                "server.public_url to where they reach Kedge, or choose a data dir with a shorter path"
            )

    async def _abandon(self, container_id: str, name: AttemptName) -> None:
        self._attempts.pop(container_id, None)
        self._ids.pop(name, None)
        await self._remove(container_id)

    async def _remove(self, container_id: str) -> None:
        with suppress(EngineGone):  # then it is found, and removed, when the engine is back
            await self._containers.remove(container_id)

    def _keep(self, attempt: Attempt) -> None:
        self._attempts[attempt.compute_id] = attempt
        self._ids[attempt.name] = attempt.compute_id
        if attempt.compute_id in self._early:
            self._spawn(self._settle(attempt))

    async def _look(self) -> None:
        """Bring what is known and what the engine has to agree."""
        found = {summary["Id"]: summary for summary in await self._containers.list()}
        if not self._looked:
            await self._prepare()
        for summary in found.values():
            await self._meet(summary)
        for attempt in [attempt for attempt in self._attempts.values() if attempt.end is None]:
            if found.get(attempt.compute_id, {}).get("State") != "running":
                await self._settle(attempt)
        for container_id in self._pool.ids - found.keys():
            self._pool.lost(container_id)
        self._looked = True
        self._pool.fill()

    async def _prepare(self) -> None:
        quotas = await self._containers.prepare()
        if self._settings.disk is not None and self._settings.workspace == "disk" and not quotas:
            log.warning("disk_limit_not_enforced", reason=NO_QUOTAS)

    async def _meet(self, summary: dict[str, Any]) -> None:
        """A container of this Kedge: adopt it, or remove it if nobody will ever want it."""
        container_id, state = summary["Id"], summary["State"]
        if container_id in self._attempts or container_id in self._pool.ids:
            return
        name = AttemptName.read(summary["Names"][0]) if summary["Names"] else None
        if name in self._starts and state != "exited":
            return  # it is being made
        fresh = state == "created"
        if name is None:
            # one that waits has been left by an earlier Kedge, or is just being made
            if state == "exited" or not self._looked:
                await self._remove(container_id)
        elif fresh or (self._looked and name not in self._starts):
            await self._remove(container_id)
        else:
            self._keep(Attempt(compute_id=container_id, name=name))

    def _ended(self, container_id: str) -> None:
        """The engine says that a container has ended, or that there is none any more."""
        attempt = self._attempts.get(container_id)
        if attempt is not None:
            self._spawn(self._settle(attempt))
        elif self._pool.lost(container_id):
            log.warning("warm_container_ended", container=container_id)
            self._spawn(self._remove(container_id))
        else:
            self._early.append(container_id)

    async def _settle(self, attempt: Attempt) -> None:
        """Find out how an attempt ended, if it has."""
        try:
            state = await self._containers.state(attempt.compute_id)
            if state is not None and state["Running"]:
                return
            errors = await self._containers.last_words(attempt.compute_id) if state else ""
        except EngineGone:
            # it is looked for when the engine is back
            return
        end = attempt.finish(state, errors)
        if end is not None:
            self._exits.put_nowait(end)

    async def _stop(self, attempt: Attempt, grace: float) -> None:
        attempt.stopping = attempt.stopping or attempt.end is None
        for signal, patience in (("SIGTERM", grace), ("SIGKILL", None)):
            if attempt.end is not None:
                break
            await self._insist(attempt, signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(attempt.ended.wait(), patience)
        attempt.stopped = True

    async def _insist(self, attempt: Attempt, signal: str) -> None:
        """Signal a container, as soon as its engine can be asked to."""
        while attempt.end is None:
            try:
                await self._containers.signal(attempt.compute_id, signal)
            except EngineGone:
                await self._watch.back()
            else:
                return

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # whoever waited has seen the error; nobody may be left to
        if not task.cancelled():
            task.exception()


def _send(channel: Channel, assignment: bytes, _: object) -> None:
    channel.send(assignment)


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        text = make()
        path.write_text(f"{text}\n")
        return text
