"""Runs attempts as child processes, each in a session, a workspace and a control group of its own."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import structlog

from kedge import ComputeState, ComputeStatus, ExitCause, Scope, StartRefused
from kedge_process.cgroups import Cgroups
from kedge_process.identity import ProcessId, boot_id
from kedge_process.nursery import Nursery
from kedge_process.places import Note, Places
from kedge_process.settings import ProcessSettings
from kedge_process.stragglers import MARK, end_everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

    from kedge import ComputeRequest, Host
    from kedge_process.places import Place

log = structlog.get_logger("process")


class ProcessCompute:
    """The embedded default. Builds run as the user of Kedge: for trusted code only."""

    name: ClassVar[str] = "process"
    Settings: ClassVar[type[BaseModel]] = ProcessSettings
    scope: ClassVar[Scope] = Scope.NODE
    adopts: ClassVar[bool] = True

    def __init__(self, settings: ProcessSettings, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        self._settings = settings
        self._places = Places(settings.workspaces or host.data_dir.absolute() / "workspaces")
        self._cgroups = Cgroups()
        self._nursery = Nursery(settings.warm)
        self._running: dict[str, Note] = {}
        self._starts: dict[tuple[str, int], asyncio.Future[str]] = {}
        self._pidfds: dict[str, int] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._stopping: set[str] = set()
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Find what an earlier node has started, and make ready to start more."""
        log.warning("builds run as the user of Kedge, not in a sandbox: trust their code", backend=self.name)
        try:
            await asyncio.to_thread(self._places.root.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise StartRefused(
                f"workspaces cannot be made in {self._places.root}: {error.strerror}"
            ) from error
        for _, note in await asyncio.to_thread(list, self._places.noted()):
            self._running[note.compute_id] = note
            self._watch(note)
        await self._nursery.open()

    async def start(self, request: ComputeRequest) -> str:
        """Start the runner for one attempt."""
        key = (request.build_uuid, request.attempt)
        if key not in self._starts:
            self._starts[key] = asyncio.ensure_future(self._start(request))
        try:
            return await asyncio.shield(self._starts[key])
        except Exception:
            self._starts.pop(key, None)
            raise

    async def _start(self, request: ComputeRequest) -> str:
        for note in self._running.values():
            if (note.build_uuid, note.attempt) == (request.build_uuid, request.attempt):
                return note.compute_id
        place = self._places.place(request.build_uuid, request.attempt)
        waiting = await self._nursery.take()
        identity = ProcessId.of(waiting.pid)
        if identity is None:
            waiting.channel.close()
            raise ChildProcessError("the runner ended before it had begun")
        note = Note(compute_id=str(identity), build_uuid=request.build_uuid, attempt=request.attempt)
        try:
            assignment = await asyncio.to_thread(self._prepare, request, place, note)
        except OSError as error:
            waiting.channel.close()
            raise StartRefused(f"the workspace cannot be made: {error.strerror}") from error
        self._running[note.compute_id] = note
        self._watch(note)
        await waiting.send(assignment)
        return note.compute_id

    def _prepare(self, request: ComputeRequest, place: Place, note: Note) -> dict[str, Any]:
        place.make()
        limits, settings = request.limits, self._settings
        group = self._cgroups.make(
            place.name,
            memory=limits.memory_bytes or settings.memory,
            processes=limits.processes or settings.processes,
        )
        place.write(note)
        return {
            "endpoint": request.endpoint,
            "token": request.token,
            "build_uuid": request.build_uuid,
            "attempt": request.attempt,
            "workspace": str(place.workspace),
            "place": {
                "folder": str(place.workspace),
                "exit_file": str(place.exit_file),
                "stderr": str(place.stderr),
                "cgroups": [str(folder) for folder in group.folders],
                "nice": settings.nice,
                "limits": self._limits(request),
                "environment": {
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LANG": "C.UTF-8",
                    MARK: place.name,
                },
            },
        }

    def _limits(self, request: ComputeRequest) -> dict[str, int]:
        limits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": request.limits.open_files or self._settings.open_files,
        }
        file_size = request.limits.disk_bytes or self._settings.file_size
        if file_size is not None and file_size < resource.RLIM_INFINITY % 2**63:
            limits["RLIMIT_FSIZE"] = file_size
        return limits

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        note = self._running.get(compute_id)
        if note is None:
            return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)
        return await asyncio.to_thread(self._status, note)

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """End an attempt and all it has started."""
        note = self._running.get(compute_id)
        ended = self._ended.get(compute_id)
        if note is None or ended is None:
            return
        self._stopping.add(compute_id)
        pidfd = self._pidfds.get(compute_id)
        if pidfd is not None and grace > 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await ended.wait()
        if not ended.is_set():
            await asyncio.to_thread(self._end, note)
            await ended.wait()

    async def list(self) -> list[ComputeStatus]:
        """All attempts that have not been forgotten."""
        notes = list(self._running.values())
        return await asyncio.to_thread(lambda: [self._status(note) for note in notes])

    async def forget(self, compute_id: str) -> None:
        """Remove the workspace of an ended attempt."""
        note = self._running.get(compute_id)
        if note is None or compute_id in self._pidfds:
            return
        del self._running[compute_id]
        self._ended.pop(compute_id, None)
        self._stopping.discard(compute_id)
        self._starts.pop((note.build_uuid, note.attempt), None)
        place = self._places.place(note.build_uuid, note.attempt)
        self._cgroups.group(place.name).remove()
        if not self._settings.keep_workspaces:
            await asyncio.to_thread(place.remove)

    async def close(self) -> None:
        """Let go of everything; what runs goes on."""
        loop = asyncio.get_running_loop()
        for descriptor in self._pidfds.values():
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._pidfds.clear()
        await self._nursery.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._exits.put_nowait(None)

    def _watch(self, note: Note) -> None:
        """Hear of the end of a process, whoever started it."""
        self._ended[note.compute_id] = asyncio.Event()
        identity = ProcessId.parse(note.compute_id)
        descriptor = identity.open() if identity is not None else None
        if descriptor is None:
            self._begin_farewell(note)
            return
        self._pidfds[note.compute_id] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._gone, note)

    def _gone(self, note: Note) -> None:
        descriptor = self._pidfds.pop(note.compute_id)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._begin_farewell(note)

    def _begin_farewell(self, note: Note) -> None:
        task = asyncio.create_task(self._farewell(note))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _farewell(self, note: Note) -> None:
        """The runner has ended: so must everything that it has started."""
        await asyncio.to_thread(self._end, note)
        status = await asyncio.to_thread(self._status, note)
        self._ended[note.compute_id].set()
        self._exits.put_nowait(status)

    def _end(self, note: Note) -> None:
        place = self._places.place(note.build_uuid, note.attempt)
        identity = ProcessId.parse(note.compute_id)
        if identity is None or identity.boot != boot_id():
            return
        if identity.runs():
            with suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGKILL)
        end_everything(place.name, identity.pid, self._cgroups.group(place.name))

    def _status(self, note: Note) -> ComputeStatus:
        place = self._places.place(note.build_uuid, note.attempt)
        identity = ProcessId.parse(note.compute_id)
        runs = identity is not None and identity.runs()
        code = None if runs else place.exit_code()
        return ComputeStatus(
            compute_id=note.compute_id,
            build_uuid=note.build_uuid,
            attempt=note.attempt,
            state=ComputeState.RUNNING if runs else ComputeState.EXITED,
            exit_code=code,
            cause=None if runs else self._cause(note, place, code),
            detail="" if runs or code is not None else place.last_words(),
        )

    def _cause(self, note: Note, place: Place, code: int | None) -> ExitCause:
        if note.compute_id in self._stopping:
            return ExitCause.STOPPED
        if code is not None:
            return ExitCause.SELF
        if self._cgroups.group(place.name).out_of_memory_kills():
            return ExitCause.OUT_OF_MEMORY
        return ExitCause.INFRASTRUCTURE
