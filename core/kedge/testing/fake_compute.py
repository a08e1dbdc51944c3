"""A compute backend without processes, that a test steers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from kedge.contracts.compute import ComputeRequest, ComputeState, ComputeStatus, ExitCause, Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from kedge.contracts.host import Host

    Runner = Callable[[ComputeRequest], Awaitable[int]]


class FakeSettings(BaseModel):
    """There is nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(kw_only=True, eq=False)
class FakeAttempt:
    """One attempt that was started."""

    request: ComputeRequest
    status: ComputeStatus
    task: asyncio.Task[None] | None = None
    stopping: bool = False
    stopped: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(kw_only=True, eq=False)
class FakeMachine:
    """Where attempts run: what stays when a node restarts."""

    attempts: dict[str, FakeAttempt] = field(default_factory=dict)
    listeners: set[asyncio.Queue[ComputeStatus | None]] = field(default_factory=set)


async def run_for_good(_: ComputeRequest) -> int:
    """A runner that neither says nor ends anything."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


class FakeCompute:
    """A `kedge.Compute` that a test steers. Usable from one event loop.

    `runner` plays the runner of each attempt: it returns an exit code, is cancelled when asked to stop, and
    an error of it counts as its being killed. Without one, an attempt runs until `end`, `run_out_of_memory`
    or `lose`. `failures` are raised by the next starts, in order; after `hold` attempts start slowly: not
    before `release`. Another instance over the same `machine` is a restarted node.
    """

    name: ClassVar[str] = "fake"
    Settings: ClassVar[type[BaseModel]] = FakeSettings
    scope: Scope = Scope.CLUSTER
    adopts: ClassVar[bool] = True

    def __init__(
        self,
        settings: Any = None,
        host: Host | None = None,
        *,
        runner: Runner = run_for_good,
        machine: FakeMachine | None = None,
    ) -> None:
        """Run attempts with `runner`, on `machine` or a new one."""
        self.machine = machine or FakeMachine()
        #: errors that the next starts raise
        self.failures: list[Exception] = []
        #: every request that was accepted, in order
        self.requests: list[ComputeRequest] = []
        self._runner = runner
        self._released = asyncio.Event()
        self._released.set()
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()
        self._stops: set[asyncio.Task[None]] = set()

    # ---- steering

    def hold(self) -> None:
        """Let attempts that are started from now on not run before `release`."""
        self._released.clear()

    def release(self) -> None:
        """Let them run."""
        self._released.set()

    def end(
        self,
        compute_id: str,
        *,
        exit_code: int | None = 0,
        cause: ExitCause = ExitCause.SELF,
        detail: str = "",
    ) -> None:
        """End an attempt like this."""
        attempt = self.machine.attempts[compute_id]
        self._finish(attempt, exit_code=exit_code, cause=cause, detail=detail)

    def run_out_of_memory(self, compute_id: str) -> None:
        """End an attempt for want of memory."""
        self.end(compute_id, exit_code=None, cause=ExitCause.OUT_OF_MEMORY, detail="the memory limit was hit")

    def lose(self, compute_id: str) -> None:
        """Let an attempt vanish without a word: nobody is told, nothing is known of it."""
        attempt = self.machine.attempts.pop(compute_id)
        attempt.ended.set()
        _cancel(attempt)

    # ---- the contract

    async def open(self) -> None:
        """Hear of the machine's ends from now on."""
        self.machine.listeners.add(self._exits)

    async def start(self, request: ComputeRequest) -> str:
        """Accept an attempt, or raise the next of `failures`."""
        compute_id = f"fake-{request.build_uuid}-{request.attempt}"
        if compute_id in self.machine.attempts:
            return compute_id
        if self.failures:
            raise self.failures.pop(0)
        status = ComputeStatus(
            compute_id=compute_id,
            build_uuid=request.build_uuid,
            attempt=request.attempt,
            state=ComputeState.STARTING,
        )
        attempt = FakeAttempt(request=request, status=status)
        self.machine.attempts[compute_id] = attempt
        self.requests.append(request)
        if self._released.is_set():
            self._set_running(attempt)
        attempt.task = asyncio.create_task(self._run(attempt))
        return compute_id

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt."""
        attempt = self.machine.attempts.get(compute_id)
        if attempt is None:
            return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)
        return attempt.status

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """Cancel the runner; once more after `grace`."""
        attempt = self.machine.attempts.get(compute_id)
        if attempt is not None:
            task = asyncio.create_task(self._stop(attempt, grace))
            self._stops.add(task)
            task.add_done_callback(self._stops.discard)
            await asyncio.shield(task)

    async def list(self) -> list[ComputeStatus]:
        """All attempts that have not been stopped or forgotten."""
        return [attempt.status for attempt in self.machine.attempts.values() if not attempt.stopped]

    async def forget(self, compute_id: str) -> None:
        """Know an ended attempt no more."""
        attempt = self.machine.attempts.get(compute_id)
        if attempt is not None and attempt.ended.is_set():
            del self.machine.attempts[compute_id]

    async def close(self) -> None:
        """Hear no more; attempts go on."""
        self.machine.listeners.discard(self._exits)
        self._exits.put_nowait(None)

    # ---- inside

    async def _run(self, attempt: FakeAttempt) -> None:
        code: int | None = None
        cause, detail = ExitCause.INFRASTRUCTURE, "its runner was killed"
        try:
            await self._released.wait()
            self._set_running(attempt)
            code = await self._runner(attempt.request)
            cause, detail = ExitCause.SELF, ""
        except Exception as error:  # noqa: BLE001  (an error is how a test's runner says that it was killed)
            detail = f"{detail}: {error!r}"
        finally:
            self._finish(attempt, exit_code=code, cause=cause, detail=detail)

    async def _stop(self, attempt: FakeAttempt, grace: float) -> None:
        attempt.stopping = not attempt.ended.is_set() or attempt.stopping
        patience = grace
        while not attempt.ended.is_set():
            _cancel(attempt)
            # not `wait_for`, which may take a cancellation for the end that comes with it
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await attempt.ended.wait()
            patience = 0.01
        attempt.stopped = True

    def _set_running(self, attempt: FakeAttempt) -> None:
        attempt.status = replace(attempt.status, state=ComputeState.RUNNING)

    def _finish(self, attempt: FakeAttempt, *, exit_code: int | None, cause: ExitCause, detail: str) -> None:
        if attempt.ended.is_set():
            return
        attempt.status = replace(
            attempt.status,
            state=ComputeState.EXITED,
            exit_code=exit_code,
            cause=ExitCause.STOPPED if attempt.stopping else cause,
            detail=detail,
        )
        attempt.ended.set()
        _cancel(attempt)
        for listener in self.machine.listeners:
            listener.put_nowait(attempt.status)


def _cancel(attempt: FakeAttempt) -> None:
    if attempt.task is not None and attempt.task is not asyncio.current_task():
        attempt.task.cancel()
