"""Runs one command to its end, and everything it started to theirs."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import time

from kedge_runner.errors import Cancelled, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
F_SETPIPE_SZ = 1031
#: how long output is waited for once the command itself has ended
LINGER = 0.2
POLL_SECONDS = 0.25


class Command:
    """One command in a session of its own, its output and errors in one pipe."""

    def __init__(self, argv: list[str], *, cwd: str, env: dict[str, str]) -> None:
        """Start it. Raises `OSError`."""
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            fcntl.fcntl(write, F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # an unprivileged user may be out of pipe memory; the usual size works too
        try:
            self._process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                start_new_session=True,
            )
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._output = read

    def run(self, sink: Callable[[bytes], None], watch: Watch) -> int:
        """Hand all output to `sink`; return the exit code (negative: the signal).

        Raises `Cancelled` or `TimedOut`. Nothing of its process group is left in any case.
        """
        try:
            code = self._pump(sink, watch)
        except (Cancelled, TimedOut):
            self._end(sink, watch.grace)
            raise
        finally:
            self._kill()
            os.close(self._output)
        return code

    def _pump(self, sink: Callable[[bytes], None], watch: Watch) -> int:
        ended = os.pidfd_open(self._process.pid)
        try:
            poll = select.poll()
            poll.register(self._output, select.POLLIN)
            poll.register(ended, select.POLLIN)
            open_output = True
            while True:
                watch.check()
                ready = dict(poll.poll(POLL_SECONDS * 1000))
                if self._output in ready:
                    data = os.read(self._output, READ_BYTES)
                    if data:
                        sink(data)
                    else:
                        poll.unregister(self._output)
                        open_output = False
                elif ended in ready:
                    if open_output:
                        self._drain(sink, LINGER, watch)
                    return self._process.wait()
        finally:
            os.close(ended)

    def _drain(self, sink: Callable[[bytes], None], linger: float, watch: Watch) -> None:
        """Read on until the pipe is closed or stays silent; children may hold it open for good."""
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        gives_up = time.monotonic() + 10 * linger
        while poll.poll(linger * 1000) and time.monotonic() < gives_up:
            watch.check()
            data = os.read(self._output, READ_BYTES)
            if not data:
                return
            sink(data)

    def _end(self, sink: Callable[[bytes], None], grace: float) -> None:
        """Ask the group to end, show what it still says, then kill it."""
        self._signal(signal.SIGTERM)
        gives_up = time.monotonic() + grace
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        while time.monotonic() < gives_up and self._process.poll() is None:
            if poll.poll(20) and (data := os.read(self._output, READ_BYTES)):
                sink(data)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass


class Watch:
    """Says when a build has to end early."""

    def __init__(self, *, deadline: float, grace: float, cancelled: Callable[[], bool]) -> None:
        """`deadline` is on the monotonic clock; `grace` is the time between asking and killing."""
        self.deadline = deadline
        self.grace = grace
        self._cancelled = cancelled

    def check(self) -> None:
        """Raise `Cancelled` or `TimedOut` if it is time to."""
        if self._cancelled():
            raise Cancelled
        if time.monotonic() > self.deadline:
            raise TimedOut
