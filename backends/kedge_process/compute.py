"""The compute backend `process`: builds as child processes of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import structlog

from kedge import AttemptName, Attempts, CapacityUnavailable, ConfigError, Scope, StartRefused
from kedge_process.attempt import Attempt
from kedge_process.folders import Folders, Tenant
from kedge_process.forks import ForkServer
from kedge_process.guard.messages import MOST
from kedge_process.guard.processes import boot_id, open_pidfd
from kedge_process.guard.supervisor import ASK, END
from kedge_process.guard.supervisor import PATIENCE as SUPERVISOR_PATIENCE
from kedge_process.plan import base_environment, make_plan, quota_of
from kedge_process.pool import RunnerPool
from kedge_process.settings import ProcessSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from socket import socket

    from pydantic import BaseModel

    from kedge import ComputeRequest, ComputeStatus, Host
    from kedge_process.guard.messages import Order
    from kedge_process.lease import Lease
    from kedge_process.plan import RunnerCode

log = structlog.get_logger("process")

TRUSTED = (
    "builds run on this machine as the user of Kedge, with no wall between: use this backend for code that "
    "you trust, and a container backend for any other"
)
OUTSIDE = (
    "the build is of code from outside, by somebody who may not write to the repository, and the process "
    "backend has no wall around a build: use a container backend, or allow it by compute.process.untrusted"
)
#: runners that are tried for one start, should they die waiting
TRIES = 3


class ProcessCompute:
    """Runs each attempt as a runner under a supervisor, both processes free of Kedge's own life."""

    name: ClassVar[str] = "process"
    Settings: ClassVar[type[BaseModel]] = ProcessSettings
    scope: Scope = Scope.NODE
    adopts: ClassVar[bool] = True
    #: told at the start
    warning: ClassVar[str] = TRUSTED
    too_large: ClassVar[str] = "the request is too large; endpoint and token are meant to be short"

    def __init__(self, settings: ProcessSettings, host: Host, *, runner: RunnerCode | None = None) -> None:
        """Keep `settings`; `runner` is what to run instead of `kedge_runner`."""
        self._settings = settings
        self._runner = runner
        root = settings.workspaces or host.data_dir / "workspaces"
        self._folders = Folders(root.absolute(), keep=settings.keep_workspaces)
        self._attempts: Attempts[Attempt] = Attempts()

    async def open(self) -> None:
        """Adopt what runs, start what will wait. Raises `ConfigError` if the folder cannot be used."""
        log.warning("trusted_code_only", note=self.warning)
        # removing a large workspace must not hold up a start
        self._removers = ThreadPoolExecutor(2, "kedge-process-remove")
        self._boot = await asyncio.to_thread(boot_id)
        try:
            tenants = await asyncio.to_thread(self._folders.open)
        except OSError as error:
            mistake = f"compute.process.workspaces: {self._folders.root} cannot be used ({error.strerror})"
            raise ConfigError([mistake]) from error
        plan = await asyncio.to_thread(make_plan, self._settings, self._runner)
        self._forks = ForkServer(plan, environment=base_environment(), keep=self._settings.warm > 0)
        self._pool = RunnerPool(self._forks.fork, self._settings.warm)
        self._pool.fill()
        await asyncio.gather(*[self._adopt(tenant) for tenant in tenants])

    async def start(self, request: ComputeRequest) -> str:
        """Order a waiting runner to run this attempt."""
        if not (request.trusted or self._settings.untrusted):
            raise StartRefused(OUTSIDE)
        name = AttemptName.of(request.build_uuid, request.attempt)
        return await self._attempts.start(name, lambda: self._start(request))

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        return self._attempts.status(compute_id)

    def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        return self._attempts.exits()

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Ask the runner to end, then kill whatever it has started."""
        attempt = self._attempts.get(compute_id)
        if attempt is not None:
            await self._attempts.safely(self._stop(attempt, grace))

    async def list(self) -> list[ComputeStatus]:
        """All attempts that have a folder and have not been stopped."""
        return await self._attempts.listed()

    async def forget(self, compute_id: str) -> None:
        """Remove the folder of an ended attempt. One that still runs is left alone."""
        attempt = self._attempts.ended(compute_id)
        if attempt is None:
            return
        self._attempts.drop(attempt)
        remove = partial(self._folders.remove, attempt.tenant.name)
        try:
            await asyncio.get_running_loop().run_in_executor(self._removers, remove)
        except OSError as error:
            log.warning("workspace_not_removed", folder=str(attempt.folder), reason=error.strerror)

    async def close(self) -> None:
        """Let go of everything; running attempts go on."""
        await self._pool.close()
        await self._attempts.close()
        loop = asyncio.get_running_loop()
        for attempt in self._attempts:
            if attempt.pidfd is not None:
                loop.remove_reader(attempt.pidfd)
                attempt.close()
        await asyncio.to_thread(self._forks.close)
        await asyncio.to_thread(self._removers.shutdown)

    async def _start(self, request: ComputeRequest) -> str:
        for _ in range(TRIES):
            lease = await self._pool.take()
            tenant = self._tenant(request, lease)
            try:
                order = self._order(request, tenant)
                folder = await asyncio.to_thread(self._folders.make, tenant)
            except BaseException:
                lease.discard()
                raise
            if lease.send(order):
                self._keep(Attempt.of(tenant, folder, lease.pidfd, self._lifeline(lease)))
                return tenant.compute_id
            lease.discard()
            await asyncio.to_thread(self._folders.remove, tenant.name)
        raise CapacityUnavailable("runners end before they get their order; the machine may be out of memory")

    def _lifeline(self, lease: Lease) -> socket | None:
        if self._runner is not None and not self._runner.outlives_kedge:
            return lease.channel
        lease.channel.close()
        return None

    def _tenant(self, request: ComputeRequest, lease: Lease) -> Tenant:
        return Tenant(
            compute_id=f"{lease.pid}-{lease.start}-{self._boot[:8]}",
            build_uuid=request.build_uuid,
            attempt=request.attempt,
            pid=lease.pid,
            start=lease.start,
            boot=self._boot,
        )

    def _order(self, request: ComputeRequest, tenant: Tenant) -> bytes:
        folder = str(self._folders.root / tenant.name)
        assignment = request.assignment(f"{folder}/work")
        quota = quota_of(request.limits.within(self._settings.limits))
        order: Order = {"folder": folder, "marker": tenant.name, "quota": quota, "assignment": assignment}
        data = json.dumps(order).encode()
        if len(data) > MOST:
            raise StartRefused(self.too_large)
        return data

    async def _adopt(self, tenant: Tenant) -> None:
        pidfd = open_pidfd(tenant.pid, tenant.start) if tenant.boot == self._boot else None
        attempt = Attempt.of(tenant, self._folders.root / tenant.name, pidfd)
        if pidfd is None:
            attempt.finish(await asyncio.to_thread(attempt.settle))
        self._keep(attempt)

    def _keep(self, attempt: Attempt) -> None:
        self._attempts.keep(attempt)
        if attempt.pidfd is not None:
            asyncio.get_running_loop().add_reader(attempt.pidfd, self._ended, attempt, attempt.pidfd)

    def _ended(self, attempt: Attempt, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        with suppress(ChildProcessError):
            # where Kedge is the first process of a container, orphans are its children
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        self._attempts.spawn(self._settle(attempt))
        attempt.close()

    async def _settle(self, attempt: Attempt) -> None:
        self._attempts.tell(attempt.finish(await asyncio.to_thread(attempt.settle)))

    async def _stop(self, attempt: Attempt, grace: float) -> None:
        attempt.stopping = attempt.stopping or attempt.pidfd is not None
        steps = ((ASK, grace), (END, SUPERVISOR_PATIENCE + 2), (signal.SIGKILL, None))
        for number, patience in steps:
            attempt.signal(number)
            # not `wait_for`, which may take a cancellation for the end that comes with it
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await attempt.ended.wait()
                break
        attempt.stopped = True
