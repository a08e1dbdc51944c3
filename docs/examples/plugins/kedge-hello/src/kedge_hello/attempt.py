"""One runner, from its start until nothing of it is left."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kedge import CapacityUnavailable, ComputeState, ComputeStatus, ExitCause, StartRefused

if TYPE_CHECKING:
    from kedge import ComputeRequest

GUARD = Path(__file__).with_name("guard.py")
#: asks the guard to kill everything
KILL = signal.SIGUSR1


class Attempt:
    """A runner under its guard, which ends with it all that it has started."""

    def __init__(self, compute_id: str, request: ComputeRequest, workspace: Path) -> None:
        """Start nothing yet."""
        self.compute_id = compute_id
        self.workspace = workspace
        #: whether Kedge asked to stop it, be it too late
        self.stopped = False
        self._request = request
        self._guard: asyncio.subprocess.Process | None = None
        self._cause = ExitCause.SELF
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._ended.is_set()

    @property
    def status(self) -> ComputeStatus:
        """What Kedge is told."""
        state = ComputeState.STARTING if self._guard is None else ComputeState.RUNNING
        code = self._guard.returncode if self._guard is not None and self.ended else None
        killed = code is not None and code < 0
        return ComputeStatus(
            compute_id=self.compute_id,
            build_uuid=self._request.build_uuid,
            attempt=self._request.attempt,
            state=ComputeState.EXITED if self.ended else state,
            exit_code=None if killed else code,
            cause=self._cause if self.ended else None,
            detail=f"ended by signal {-code}" if code is not None and killed else "",
        )

    async def start(self) -> None:
        """Start the runner and hand it its assignment. Raises `StartRefused` or `CapacityUnavailable`."""
        try:
            await asyncio.to_thread(self.workspace.mkdir, parents=True)
            guard = await self._spawn()
        except BlockingIOError as error:
            raise CapacityUnavailable(f"this machine cannot start a process now: {error}") from error
        except OSError as error:
            raise StartRefused(f"the runner cannot be started: {error}") from error
        self._guard = guard
        # The token goes in by stdin: neither a process list nor the environment shows it.
        if guard.stdin is not None:
            with suppress(ConnectionError):
                guard.stdin.write(self._assignment())
                await guard.stdin.drain()
            guard.stdin.close()

    async def wait(self) -> None:
        """Return when the runner, and all it has started, has ended."""
        if self._guard is not None:
            code = await self._guard.wait()
            if code < 0 and self._cause is ExitCause.SELF:
                self._cause = ExitCause.INFRASTRUCTURE
            self._ended.set()

    async def stop(self, grace: float) -> None:
        """Ask the runner to end; after `grace` seconds, kill everything."""
        self.stopped = True
        if self._guard is None or self.ended:
            return
        self._cause = ExitCause.STOPPED
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), grace)
        self._signal(KILL)
        await self._ended.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._guard is not None:
                self._guard.send_signal(number)

    async def _spawn(self) -> asyncio.subprocess.Process:
        spec = importlib.util.find_spec("kedge_runner")
        if spec is None or spec.origin is None:
            raise StartRefused("kedge_runner is not installed beside Kedge; install Kedge again")
        # The runner needs the standard library only: without site-packages Python starts quickly.
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(GUARD), str(Path(spec.origin).parents[1])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self.workspace,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.workspace), "LANG": "C.UTF-8"},
            start_new_session=True,
        )

    def _assignment(self) -> bytes:
        request = self._request
        assignment = {
            "endpoint": request.endpoint,
            "token": request.token,
            "build_uuid": request.build_uuid,
            "attempt": request.attempt,
            "workspace": str(self.workspace),
        }
        return json.dumps(assignment).encode() + b"\n"
