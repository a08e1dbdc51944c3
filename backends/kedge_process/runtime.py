"""The runtime `process`: deployed workers as child processes of this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from kedge import ComputeError, ExitCause, InstanceExit, InstanceKind, StartRefused
from kedge_process.pipe import Pipe
from kedge_process.ports import LOOPBACK, Ports
from kedge_process.programs import Program, Programs
from kedge_process.runtime_settings import ProcessRuntimeSettings
from kedge_process.settings import ProcessSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pydantic import BaseModel

    from kedge import ComputeStatus, Host, InstanceRequest

#: folders whose programs an instance finds before any other of the same name
OWN_PROGRAMS = ("node_modules/.bin", "python_modules/bin")


class ProcessRuntime:
    """Runs each instance as a program under a supervisor that ends with it all that it has started."""

    name: ClassVar[str] = "process"
    Settings: ClassVar[type[BaseModel]] = ProcessRuntimeSettings
    kinds: ClassVar[frozenset[InstanceKind]] = frozenset({InstanceKind.ASGI, InstanceKind.COMMAND})

    def __init__(self, settings: ProcessRuntimeSettings, host: Host) -> None:
        """Keep `settings`."""
        self._settings = settings
        self._root = (host.data_dir / "instances").absolute()
        limits = settings.model_dump(
            include={"nice", "memory", "processes", "cpu", "open_files", "file_size"}
        )
        # a warm one spares 1 ms of a start that takes much longer
        self._programs = Programs(
            ProcessSettings(workspaces=self._root / "work", warm=0, untrusted=True, **limits), host
        )
        self._ports = Ports(*settings.ports)
        self._instances: dict[str, ProcessInstance] = {}
        self._given_up: set[asyncio.Task[None]] = set()
        self._exits: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """End what an earlier node left. Raises `ConfigError` if the folder cannot be used."""
        await self._programs.open()
        await self._programs.end_all()
        await asyncio.to_thread(self._make_pipes_folder)
        self._exits = asyncio.create_task(self._hear_exits())

    async def start(self, request: InstanceRequest) -> ProcessInstance:
        """Start a program that listens on a free port."""
        if request.kind not in self.kinds:
            raise StartRefused(
                f"the process runtime cannot run kind {request.kind.value}; choose a container runtime"
            )
        with ExitStack() as undo:
            port = self._ports.take()
            undo.callback(self._ports.give_back, port)
            pipe = Pipe(self._root / "pipes" / request.instance_id)
            undo.callback(pipe.close)
            program = self._program(request, port, pipe.path)
            try:
                compute_id = await self._programs.start(program)
            except asyncio.CancelledError:
                self._give_up_later(program, undo.pop_all())
                raise
            undo.pop_all()
        instance = ProcessInstance(request.instance_id, compute_id, port, pipe, self._programs)
        self._instances[compute_id] = instance
        status = await self._programs.inspect(compute_id)
        if status.cause is not None:
            self._ended(status)
        return instance

    def _give_up_later(self, program: Program, undo: ExitStack) -> None:
        task = asyncio.create_task(self._give_up(program, undo))
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)

    async def _give_up(self, program: Program, undo: ExitStack) -> None:
        """End what a start that nobody waits for any more makes all the same."""
        with undo, suppress(ComputeError):
            # the same start, heard to its end
            await self._programs.end(await self._programs.start(program))

    async def close(self) -> None:
        """End every instance."""
        await asyncio.gather(*self._given_up)
        await asyncio.gather(*[instance.stop(grace=0) for instance in self._instances.values()])
        if self._exits is not None:
            self._exits.cancel()
            with suppress(asyncio.CancelledError):
                await self._exits
            await self._programs.end_all()
            await self._programs.close()

    def _make_pipes_folder(self) -> None:
        pipes = self._root / "pipes"
        shutil.rmtree(pipes, ignore_errors=True)
        pipes.mkdir(mode=0o700, parents=True)

    def _program(self, request: InstanceRequest, port: int, output: Path) -> Program:
        files = request.files
        where = {"HOST": LOOPBACK, "PORT": str(port)}
        if request.cache is not None:
            where["PYTHONPYCACHEPREFIX"] = str(request.cache / "bytecode")
        environment = {**request.variables, **request.secrets, **request.egress, **where}
        if files is not None and "PATH" not in environment:
            own = [str(files / name) for name in OWN_PROGRAMS]
            environment["PATH"] = os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])
        return Program(
            build_uuid=request.instance_id,
            attempt=0,
            endpoint="",
            token="",
            limits=request.limits,
            arguments=self._arguments(request, port),
            environment=environment,
            directory=files,
            output=output,
        )

    def _arguments(self, request: InstanceRequest, port: int) -> tuple[str, ...]:
        if not request.entry:
            raise StartRefused("the version has no entry: there is nothing to run")
        if request.kind is InstanceKind.ASGI:
            if request.server is None:
                raise StartRefused("an ASGI application needs a server")
            return (self._settings.python, "-u", str(request.server / "serve.py"), *request.entry)
        return tuple(argument.replace("$PORT", str(port)) for argument in request.entry)

    async def _hear_exits(self) -> None:
        async for status in self._programs.exits():
            self._ended(status)

    def _ended(self, status: ComputeStatus) -> None:
        instance = self._instances.pop(status.compute_id, None)
        if instance is not None:
            self._ports.give_back(instance.port)
            instance.finish(status)


class ProcessInstance:
    """One program and the port that it was given."""

    def __init__(self, instance_id: str, compute_id: str, port: int, pipe: Pipe, programs: Programs) -> None:
        """It is on its way."""
        self.instance_id = instance_id
        self.port = port
        self._compute_id = compute_id
        self._pipe = pipe
        self._programs = programs
        self._stopping = False
        self._exit: asyncio.Future[InstanceExit] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> str:
        """On the loopback."""
        return f"{LOOPBACK}:{self.port}"

    def output(self) -> AsyncIterator[bytes]:
        """What it writes."""
        return self._pipe.read()

    async def exited(self) -> InstanceExit:
        """Wait for the end."""
        return await asyncio.shield(self._exit)

    async def stop(self, *, grace: float) -> InstanceExit:
        """Ask the program to end, then kill all it has started."""
        self._stopping = self._stopping or not self._exit.done()
        await self._programs.stop(self._compute_id, grace=grace)
        return await self.exited()

    def finish(self, status: ComputeStatus) -> None:
        """It has ended like this."""
        self._pipe.end()
        forget: Any = self._programs.forget(self._compute_id)
        self._forgetting = asyncio.ensure_future(forget)
        cause = ExitCause.STOPPED if self._stopping else status.cause or ExitCause.INFRASTRUCTURE
        self._exit.set_result(InstanceExit(cause=cause, exit_code=status.exit_code, detail=status.detail))
