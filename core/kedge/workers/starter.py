"""From a version to an instance that answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import structlog

from kedge.contracts.runtime import InstanceKind, InstanceRequest
from kedge.errors import ComputeError, InstanceFailed
from kedge.workers.asgi import ServerFolder
from kedge.workers.probes import NotUp, wait_until_up
from kedge.workers.worker_logs import Tail

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from kedge.config.settings import RuntimeSettings
    from kedge.contracts.runtime import Instance, Runtime
    from kedge.workers.places.places import Places
    from kedge.workers.runnable import Runnable
    from kedge.workers.version_files import Unpacked, VersionFiles
    from kedge.workers.worker_logs import WorkerLogs

log = structlog.get_logger("instances")

#: what it printed just before it failed is on its way
LAST_WORDS = 1.0


class InstanceStarter:
    """Starts instances by the chosen runtime, and keeps what they print."""

    def __init__(
        self,
        runtime: Runtime,
        files: VersionFiles,
        logs: WorkerLogs,
        settings: RuntimeSettings,
        *,
        location: str,
        places: Places,
        server_root: Path,
    ) -> None:
        """Keep the parts."""
        self._runtime = runtime
        self._files = files
        self._logs = logs
        self._settings = settings
        self._location = location
        self._places = places
        self._server = ServerFolder(server_root)
        self._tails: WeakKeyDictionary[Instance, Tail] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, runnable: Runnable) -> Instance:
        """An instance that answers. Raises `InstanceFailed`; then nothing is left of it."""
        unpacked = await self._unpack(runnable)
        try:
            request = await self._request(runnable, unpacked)
            instance = await self._runtime.start(request)
        except BaseException as error:
            await self._give_back(unpacked)
            if isinstance(error, ComputeError | OSError):
                raise InstanceFailed(f"no instance of {runnable.worker} can be started: {error}") from error
            raise
        tail = self._tails[instance] = Tail()
        pump = self._spawn(self._logs.pump(runnable.worker_id, instance, tail))
        self._spawn(self._clean_up_after(instance, unpacked))
        self.note(runnable, f"instance {request.instance_id} of version {runnable.version_id[:8]} starts")
        try:
            await wait_until_up(instance, runnable.health, timeout=self._settings.start_timeout)
        except NotUp as error:
            await instance.stop(grace=0)
            await asyncio.wait((pump,), timeout=LAST_WORDS)
            raise InstanceFailed(
                f"an instance of {runnable.worker} {error.reason}", probes=error.probes, tail=str(tail)
            ) from error
        except BaseException:
            await instance.stop(grace=0)
            raise
        return instance

    def note(self, runnable: Runnable, text: str) -> None:
        """Put a line of Kedge's own into the worker's log, soon."""
        self._spawn(self._logs.note_line(runnable.worker_id, text))

    def tail(self, instance: Instance) -> str:
        """The end of what an instance printed."""
        return str(self._tails.get(instance, ""))

    async def close(self) -> None:
        """Store the last words of instances that have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _unpack(self, runnable: Runnable) -> Unpacked | None:
        if runnable.manifest is None or not runnable.manifest.files:
            return None
        return await self._files.take(runnable.account_id, runnable.manifest)

    async def _give_back(self, unpacked: Unpacked | None) -> None:
        if unpacked is not None:
            await self._files.give_back(unpacked.name)

    async def _request(self, runnable: Runnable, unpacked: Unpacked | None) -> InstanceRequest:
        asgi = runnable.kind is InstanceKind.ASGI
        instance_id = uuid4().hex[:12]
        return InstanceRequest(
            instance_id=instance_id,
            account_id=runnable.account_id,
            worker=runnable.worker,
            version_id=runnable.version_id,
            kind=runnable.kind,
            entry=runnable.entry,
            files=unpacked.files if unpacked else None,
            cache=unpacked.cache if unpacked else None,
            server=await self._server.path() if asgi else None,
            image=runnable.image,
            variables={
                **runnable.variables,
                "KEDGE_WORKER": runnable.worker,
                "KEDGE_VERSION": runnable.version_id,
                "KEDGE_LOCATION": self._location,
            },
            secrets=runnable.secrets,
            egress=self._places.environment(instance_id),
            limits=runnable.limits,
            location=self._location,
        )

    async def _clean_up_after(self, instance: Instance, unpacked: Unpacked | None) -> None:
        await instance.exited()
        self._places.ledger.expel(instance.instance_id)
        await self._give_back(unpacked)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an instance was not looked after", exc_info=error)
