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

# The runner needs the standard library only, so it starts without site-packages: that is quick.
START = "import sys; sys.path.insert(0, sys.argv.pop()); from kedge_runner.main import main; sys.exit(main())"
#: how often to look whether killed processes are gone
LOOK = 0.01
#: killed processes that nobody reaps (a container without an init) are not waited for longer
PATIENCE = 5.0


class Attempt:
    """A runner in a session of its own, so that all it starts can be ended with it."""

    def __init__(self, compute_id: str, request: ComputeRequest, workspace: Path) -> None:
        """Start nothing yet."""
        self.compute_id = compute_id
        self.workspace = workspace
        #: whether Kedge asked to stop it, be it too late
        self.stopped = False
        self._cause = ExitCause.SELF
        self._request = request
        self._process: asyncio.subprocess.Process | None = None
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._ended.is_set()

    @property
    def status(self) -> ComputeStatus:
        """What Kedge is told."""
        process = self._process
        state = ComputeState.STARTING if process is None else ComputeState.RUNNING
        return ComputeStatus(
            compute_id=self.compute_id,
            build_uuid=self._request.build_uuid,
            attempt=self._request.attempt,
            state=ComputeState.EXITED if self.ended else state,
            exit_code=process.returncode if process and self.ended else None,
            cause=self._cause if self.ended else None,
        )

    async def start(self) -> None:
        """Start the runner and hand it its assignment. Raises `StartRefused` or `CapacityUnavailable`."""
        try:
            await asyncio.to_thread(self.workspace.mkdir, parents=True, exist_ok=True)
            self._process = await self._spawn()
        except BlockingIOError as error:
            raise CapacityUnavailable(f"this machine cannot start a process now: {error}") from error
        except OSError as error:
            raise StartRefused(f"the runner cannot be started: {error}") from error
        # The token goes in by stdin: neither a process list nor the environment shows it.
        assert self._process.stdin is not None  # noqa: S101  (asked for by _spawn)
        with suppress(ConnectionError):
            self._process.stdin.write(self._assignment())
            await self._process.stdin.drain()
        self._process.stdin.close()

    async def wait(self) -> None:
        """Return when the runner has ended; what it left behind is ended too."""
        assert self._process is not None  # noqa: S101  (called after start)
        await self._process.wait()
        await self._kill(self._process.pid)
        self._ended.set()

    async def stop(self, grace: float) -> None:
        """Ask the runner to end; after `grace` seconds, kill everything."""
        self.stopped = True
        if self._process is None or self.ended:
            return
        self._cause = ExitCause.STOPPED
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), grace)
        if not self.ended:
            await self._kill(self._process.pid)
        await self._ended.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        spec = importlib.util.find_spec("kedge_runner")
        if spec is None or spec.origin is None:
            raise StartRefused("kedge_runner is not installed beside Kedge; install Kedge again")
        folder = Path(spec.origin).parents[1]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", START, str(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self.workspace,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.workspace), "LANG": "C.UTF-8"},
            start_new_session=True,
        )  # fmt: skip

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

    async def _kill(self, group: int) -> None:
        """Kill the process group and wait until it is gone."""
        with suppress(ProcessLookupError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    os.killpg(group, signal.SIGKILL)
                    await asyncio.sleep(LOOK)
