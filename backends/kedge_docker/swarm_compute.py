"""Attempts as services of a swarm."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from docker.errors import APIError

from kedge import CapacityUnavailable, ComputeError, ConfigError, Ending, ExitCause, Scope, StartRefused
from kedge_docker.address import is_loopback
from kedge_docker.attempt import Attempt
from kedge_docker.channel import assignment_of
from kedge_docker.engine import EngineGone, refusal
from kedge_docker.engine_compute import EngineCompute
from kedge_docker.labels import attempt_in, name_of
from kedge_docker.registries import has_registry
from kedge_docker.services import Services, is_retired

if TYPE_CHECKING:
    from kedge import AttemptName, ComputeRequest, Host
    from kedge_docker.settings import DockerSettings

log = structlog.get_logger("docker")

#: a swarm tells nobody what becomes of tasks: seconds between two questions, each for all of them
POLL = 0.5
#: the same while some start, and what there is between two however many start and end
SHORTEST_POLL = 0.1
#: with nothing to ask for, it is only looked whether the manager answers
IDLE_POLL = 10.0
#: seconds for a manager to find a node, before a start counts as begun all the same
PATIENCE = 20.0
OVER = frozenset({"complete", "failed", "shutdown", "rejected", "orphaned", "remove"})
BEGUN = frozenset({"preparing", "starting", "running"}) | OVER
NO_MANAGER = (
    "compute.docker.mode: the engine manages no swarm; run `docker swarm init` there, or set engine to that "
    "of a manager"
)


class SwarmCompute(EngineCompute):
    """Runs each attempt as a service with one task, on whatever node of the swarm has room."""

    scope = Scope.CLUSTER

    def __init__(self, settings: DockerSettings, host: Host) -> None:
        """Keep `settings`."""
        super().__init__(settings, host)
        self._services = Services(self._engine, settings, self._registries)
        self._wake = asyncio.Event()
        #: services whose tasks no node has taken yet
        self._starting: dict[str, asyncio.Future[None]] = {}
        #: names by the ids of services that go once their tasks have gone
        self._retired: dict[str, str] = {}
        #: attempts of which it is being asked why they have no image
        self._asked: set[str] = set()

    async def _open(self) -> None:
        """Raises `ConfigError` also if the engine is no manager of a swarm."""
        with suppress(EngineGone):
            if not await self._services.is_manager():
                raise ConfigError([NO_MANAGER])
            await self._look()
        self._poller = asyncio.create_task(self._poll())

    async def forget(self, compute_id: str) -> None:
        """Remove the service of an ended attempt, and its secret. One that still runs is left alone."""
        attempt = self._attempts.ended(compute_id)
        if attempt is None:
            return
        self._attempts.drop(attempt)
        try:
            await self._retire(compute_id, attempt.name)
        except EngineGone as error:
            log.warning("service_not_removed", service=compute_id, reason=str(error))

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        self._poller.cancel()
        await asyncio.wait([self._poller])
        await super().close()

    async def _start(self, name: AttemptName, request: ComputeRequest) -> str:
        assignment = assignment_of(request, self._endpoint(request))
        if not request.trusted and self._settings.untrusted_network == "none":
            raise StartRefused(
                "code from outside would need a network to reach Kedge from a swarm; make one that leads "
                "nowhere else and set compute.docker.untrusted_network"
            )
        try:
            service_id = await self._services.create(name, request, assignment)
        except APIError as error:
            image = request.image or self._settings.image
            raise refusal(error, image, table=self._settings.table) from error
        try:
            await self._begun(service_id)
        except EngineGone:
            pass  # it was accepted: what becomes of it is seen when the manager is back
        except _NoImage as error:
            await self._retire(service_id, name)
            raise await self._why_no_image(error.image, str(error)) from error
        except BaseException:
            await self._retire(service_id, name)
            raise
        self._attempts.keep(Attempt(compute_id=service_id, name=name))
        self._wake.set()
        return service_id

    async def _retire(self, service_id: str, name: AttemptName) -> None:
        await self._services.retire(service_id)
        self._retired[service_id] = name_of(name)
        self._wake.set()

    async def _why_no_image(self, image: str, said: str) -> ComputeError:
        """A node only says that it has none: whether it may get it later is asked of the manager's engine."""
        if not has_registry(image):
            return StartRefused(f"a node of the swarm has no image {image}, and cannot pull it: {said}")
        try:
            await self._images.look_up(image)
        except ComputeError as why:
            return why
        return CapacityUnavailable(f"a node of the swarm cannot pull {image}, which its registry has")

    async def _begun(self, service_id: str) -> None:
        """Return once a node has taken the task. Raises `_NoImage` or `CapacityUnavailable`."""
        begun = self._starting[service_id] = asyncio.get_running_loop().create_future()
        self._wake.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await begun
        finally:
            del self._starting[service_id]

    def _endpoint(self, request: ComputeRequest) -> str:
        """Where any node of the swarm reaches Kedge."""
        url = self._host.public_url if request.endpoint.startswith("unix:") else request.endpoint
        if is_loopback(url):
            raise StartRefused(
                f"the nodes of a swarm cannot reach {url}; set server.public_url to where they reach Kedge"
            )
        return url

    async def _look(self) -> None:
        services = {service["ID"]: service for service in await self._services.list()}
        for service_id, service in services.items():
            if is_retired(service):
                self._retired[service_id] = service["Spec"]["Name"]
                continue
            name = attempt_in(service["Spec"]["Name"])
            if name is None or service_id in self._attempts or self._attempts.is_starting(name):
                continue
            self._attempts.keep(Attempt(compute_id=service_id, name=name))
        await self._settle_all()
        for attempt in [one for one in self._attempts if one.compute_id not in services]:
            self._finish(attempt, None)
        self._looked = True

    async def _poll(self) -> None:
        """Ask for the tasks as long as some have not ended."""
        gone = False
        while True:
            # not `wait_for`, which may take a cancellation for the wake-up that comes with it
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause(gone=gone)):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await (self._settle_all() if self._looked and not gone else self._look())
            except Exception as error:  # noqa: BLE001  (whatever the manager says, ends have to be seen)
                if not gone:
                    log.warning("engine_gone", reason=str(error) or repr(error))
                gone = True
                for begun in self._starting.values():
                    _fail(begun, error)
            else:
                gone = False
            await asyncio.sleep(SHORTEST_POLL)

    def _pause(self, *, gone: bool) -> float:
        if self._starting:
            return 0.0
        return POLL - SHORTEST_POLL if self._attempts.live or self._retired or gone else IDLE_POLL

    async def _settle_all(self) -> None:
        """See which attempts have ended, and which services may go."""
        live = self._attempts.live
        if not live and not self._retired and not self._starting:
            return
        tasks = await self._services.tasks()
        for service_id, begun in self._starting.items():
            _tell_if_begun(begun, tasks.get(service_id))
        for service_id in self._retired.keys() - tasks.keys():
            name = self._retired.pop(service_id)
            await self._services.remove(service_id, name)
        nodes = await self._services.nodes() if any(map(_is_abandoned, tasks.values())) else {}
        for attempt in live:
            task = tasks.get(attempt.compute_id)
            if task is None:
                # a task that was to end goes once it has; one that is not there yet comes
                if attempt.stopping:
                    self._finish(attempt, {"ExitCode": 0})
            elif task["Status"]["State"] in OVER:
                self._settle(attempt, task)
            elif _is_abandoned(task) and nodes.get(task.get("NodeID", "")) == "down":
                self._finish(attempt, {"ExitCode": 0, "Error": "its node is down"})

    def _settle(self, attempt: Attempt, task: dict[str, Any]) -> None:
        image = _image_that_is_missing(task)
        if image is None or attempt.stopping:
            self._finish(attempt, _state(task["Status"]))
        elif attempt.compute_id not in self._asked:
            self._asked.add(attempt.compute_id)
            self._attempts.spawn(self._explain(attempt, image, str(task["Status"]["Err"])))

    async def _explain(self, attempt: Attempt, image: str, said: str) -> None:
        """End an attempt whose image took longer than its start not to be found."""
        why = await self._why_no_image(image, said)
        cause = ExitCause.REFUSED if isinstance(why, StartRefused) else ExitCause.UNAVAILABLE
        self._asked.discard(attempt.compute_id)
        self._attempts.tell(attempt.finish(Ending(cause=cause, detail=str(why))))

    def _finish(self, attempt: Attempt, state: dict[str, Any] | None) -> None:
        self._attempts.tell(attempt.finish(attempt.ending(state)))

    async def _stop(self, attempt: Attempt, grace: float) -> None:
        attempt.ask_to_stop()
        while attempt.end is None:
            try:
                await self._services.end(attempt.compute_id)
                break
            except EngineGone:
                await asyncio.sleep(POLL)
        self._wake.set()
        await attempt.ended.wait()
        attempt.stopped = True


class _NoImage(Exception):
    """A node has no such image."""

    def __init__(self, image: str, said: str) -> None:
        super().__init__(said)
        self.image = image


def _tell_if_begun(begun: asyncio.Future[None], task: dict[str, Any] | None) -> None:
    try:
        if task is not None and _has_begun(task) and not begun.done():
            begun.set_result(None)
    except (_NoImage, CapacityUnavailable) as error:
        _fail(begun, error)


def _fail(begun: asyncio.Future[None], error: Exception) -> None:
    if not begun.done():
        begun.set_exception(error)


def _has_begun(task: dict[str, Any]) -> bool:
    state, said = task["Status"]["State"], task["Status"].get("Err") or ""
    image = _image_that_is_missing(task)
    if image is not None:
        raise _NoImage(image, said)
    if state == "rejected":
        raise CapacityUnavailable(f"a node of the swarm refused the build: {said}")
    if state == "pending" and said:
        raise CapacityUnavailable(f"the swarm has no room for the build: {said}")
    return state in BEGUN


def _image_that_is_missing(task: dict[str, Any]) -> str | None:
    if task["Status"]["State"] != "rejected" or "No such image" not in (task["Status"].get("Err") or ""):
        return None
    return str(task["Spec"]["ContainerSpec"]["Image"])


def _is_abandoned(task: dict[str, Any]) -> bool:
    """Whether the manager wants it ended and no node says that it has."""
    return task["DesiredState"] == "shutdown" and task["Status"]["State"] not in OVER


def _state(status: dict[str, Any]) -> dict[str, Any]:
    """A task's status in the words of a container's state."""
    code = status.get("ContainerStatus", {}).get("ExitCode", 0)
    said = status.get("Err") or ""
    # which says no more than the exit code
    failed = said.startswith("task: non-zero exit")
    lost = status["State"] in {"rejected", "orphaned"} or (said and not failed)
    return {"ExitCode": code, "Error": said if lost else ""}
