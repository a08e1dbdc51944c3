"""Attempts in containers of one engine."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

from kedge import (
    AttemptName,
    CapacityUnavailable,
    ComputeRequest,
    ConfigError,
    Scope,
    StartRefused,
)
from kedge_docker.address import is_loopback
from kedge_docker.attempt import Attempt
from kedge_docker.channel import assignment_of
from kedge_docker.container import shape_of
from kedge_docker.containers import Containers, Gone, NameTaken
from kedge_docker.door import UNIX, Door
from kedge_docker.engine import EngineGone
from kedge_docker.engine_compute import EngineCompute
from kedge_docker.labels import attempt_in, name_of
from kedge_docker.warm import WarmPool
from kedge_docker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge import Host
    from kedge_docker.channel import Channel
    from kedge_docker.settings import DockerSettings
    from kedge_docker.warm import Waiting

log = structlog.get_logger("docker")

#: containers that are tried for one start, should they end waiting
TRIES = 3
REMEMBERED = 256
NO_QUOTAS = "the engine's disk has no quotas, as xfs with pquota has; a workspace in memory can be limited"


class ContainerCompute(EngineCompute):
    """Runs each attempt in a fresh container, which lives on when Kedge does not."""

    scope = Scope.NODE

    def __init__(self, settings: DockerSettings, host: Host) -> None:
        """Keep `settings`."""
        super().__init__(settings, host)
        self._door = Door(host.data_dir)
        #: ends of containers that nobody knew yet: one may end before its start is over
        self._early: deque[str] = deque(maxlen=REMEMBERED)

    async def _open(self) -> None:
        """Start what will wait, too. Raises `ConfigError` also if the folder cannot be made."""
        owner = await asyncio.to_thread(self._prepare_folder)
        self._containers = Containers(self._engine, self._images, self._settings, owner)
        self._watch = Watch(self._containers, ended=self._ended, look=self._look)
        shape = shape_of(self._settings, self._door, self._usual())
        self._pool = WarmPool(self._containers, shape, self._settings.warm)
        with suppress(EngineGone):
            await self._look()
        self._watch.open()

    async def forget(self, compute_id: str) -> None:
        """Remove the container of an ended attempt. One that still runs is left alone."""
        attempt = self._attempts.ended(compute_id)
        if attempt is None:
            return
        self._attempts.drop(attempt)
        try:
            await self._containers.remove(compute_id)
        except EngineGone as error:
            # its exit has been dealt with: when the engine is back it is found, and reaped
            log.warning("container_not_removed", container=compute_id, reason=str(error))

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        await self._pool.close()
        await self._watch.close()
        await super().close()

    def _prepare_folder(self) -> str:
        """Make the door, and return the name by which this Kedge's containers are known. Blocks."""
        folder = self._host.data_dir / "docker"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._host.endpoint.startswith(UNIX):
                self._door.open(self._host.endpoint)
            return read_or_make(folder / "owner", lambda: uuid4().hex)
        except OSError as error:
            raise ConfigError([f"server.data_dir: {folder} cannot be used ({error})"]) from error

    def _usual(self) -> ComputeRequest:
        """What most requests are like, as far as the shape of a container goes."""
        return ComputeRequest(build_uuid="", attempt=0, endpoint=self._host.endpoint, token="", trusted=True)

    async def _start(self, name: AttemptName, request: ComputeRequest) -> str:
        self._check_reach(request)
        shape = shape_of(self._settings, self._door, request)
        by_door = request.endpoint.startswith(UNIX)
        assignment = assignment_of(request, self._door.endpoint if by_door else request.endpoint)
        for _ in range(TRIES):
            try:
                waiting = await self._pool.take(shape)
                if waiting is None:
                    container_id, channel = await self._containers.create(shape, name, dict(request.labels))
                else:
                    container_id, channel = await self._give(waiting, name, shape.image)
            except NameTaken:
                return await self._find(name)
            except Gone:
                continue
            attempt = self._keep(container_id, name)
            try:
                await self._engine.run(partial(_send, channel, assignment))
            except EngineGone:
                self._attempts.drop(attempt)
                await self._remove(container_id)
                continue
            return container_id
        raise CapacityUnavailable("containers end before they get their job; look into the engine's log")

    async def _give(self, waiting: Waiting, name: AttemptName, image: str) -> tuple[str, Channel]:
        try:
            await self._containers.give(waiting, name, image)
        except BaseException:
            waiting.channel.close()
            self._attempts.spawn(self._remove(waiting.container_id))
            raise
        return waiting.container_id, waiting.channel

    async def _find(self, name: AttemptName) -> str:
        """The container that has the attempt's name: an earlier start was not heard of."""
        await self._look()
        if (known := self._attempts.id_of(name)) is None:
            raise StartRefused(
                f"a container named {name_of(name)} that is not this Kedge's is in the way; remove it"
            )
        return known

    def _check_reach(self, request: ComputeRequest) -> None:
        if request.endpoint.startswith(UNIX):
            if self._settings.engine.startswith("tcp:"):
                raise StartRefused(
                    "an engine on another machine cannot use the socket of this one; set server.public_url "
                    "to where its containers reach Kedge"
                )
        elif is_loopback(request.endpoint):
            raise StartRefused(
                f"containers cannot reach {request.endpoint}, which is their own loopback; set "
                "server.public_url to where they reach Kedge, or choose a data dir with a shorter path"
            )

    async def _remove(self, container_id: str) -> None:
        with suppress(EngineGone):  # then it is found, and removed, when the engine is back
            await self._containers.remove(container_id)

    def _keep(self, container_id: str, name: AttemptName) -> Attempt:
        attempt = Attempt(compute_id=container_id, name=name)
        self._attempts.keep(attempt)
        if container_id in self._early:
            self._attempts.spawn(self._settle(attempt))
        return attempt

    async def _look(self) -> None:
        """Bring what is known and what the engine has to agree."""
        waiting = self._pool.ids
        found = {summary["Id"]: summary for summary in await self._containers.list()}
        if not self._looked:
            await self._prepare()
        for summary in found.values():
            await self._meet(summary)
        for attempt in self._attempts.live:
            if found.get(attempt.compute_id, {}).get("State") != "running":
                await self._settle(attempt)
        for container_id in waiting:
            # an engine that was away tells of no end
            if found.get(container_id, {}).get("State") != "running" and self._pool.lost(container_id):
                await self._remove(container_id)
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
        name = attempt_in(summary["Names"][0]) if summary["Names"] else None
        starting = self._attempts.is_starting(name)
        if starting and state != "exited":
            return  # it is being made
        fresh = state == "created"
        if name is None:
            # one that waits was left by an earlier Kedge or by an engine that died, or is just being made
            if state == "exited" or not self._looked or (fresh and not self._pool.creating):
                await self._remove(container_id)
        elif fresh or (self._looked and not starting):
            await self._remove(container_id)
        else:
            self._keep(container_id, name)

    def _ended(self, container_id: str) -> None:
        """The engine says that a container has ended, or that there is none any more."""
        attempt = self._attempts.get(container_id)
        if attempt is not None:
            self._attempts.spawn(self._settle(attempt))
        elif self._pool.lost(container_id):
            log.warning("warm_container_ended", container=container_id)
            self._attempts.spawn(self._remove(container_id))
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
        self._attempts.tell(attempt.finish(attempt.ending(state, errors)))

    async def _stop(self, attempt: Attempt, grace: float) -> None:
        attempt.ask_to_stop()
        for signal, patience in (("SIGTERM", grace), ("SIGKILL", None)):
            if attempt.end is not None:
                break
            await self._insist(attempt, signal)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await attempt.ended.wait()
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


def _send(channel: Channel, assignment: bytes, _: object) -> None:
    channel.send(assignment)


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The text of a file, which is made if it is not there. Raises `OSError`. Blocks."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        text = make()
        path.write_text(f"{text}\n")
        return text
