"""Runs one command to its end, and everything it started to theirs."""

from __future__ import annotations

import os
import select
import time

from kedge_runner import processes
from kedge_runner.errors import Cancelled, TimedOut
from kedge_runner.pipes import PIPE_BYTES, enlarge
from kedge_runner.processes import MARKER, SIGKILL, SIGTERM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_runner.watch import Watch

READ_BYTES = 256 * 1024
#: once the command has ended, its children's output is waited for while there is no longer silence than this
LINGER = 0.2
#: and no longer than this in all, room or not: what the command itself printed is in the pipe by then
LONGEST_LINGER = 2.0
#: how soon it is looked again whether there is room for output
ROOM_SECONDS = 0.05
#: output that comes in trickles is read as often as this, to read more of it at once
TRICKLE = 0.002


class Command:
    """One command in a session of its own, its output and errors in one pipe."""

    def __init__(
        self, argv: list[str], *, cwd: str, env: dict[str, str], watch: Watch, given: bytes | None = None
    ) -> None:
        """Start it; it reads `given`, if anything. Raises `OSError`."""
        self._watch = watch
        self._marker = f"{MARKER}={env.get(MARKER, '')}".encode()
        self._output, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        file = None
        try:
            os.set_blocking(write, True)
            file = None if given is None else _file_of(given)
            self._pid = processes.start(argv, cwd=cwd, env=env, output=enlarge(write), given=file)
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(write)
            if file is not None:
                os.close(file)
        self._ended = os.pidfd_open(self._pid)

    def run(self, sink: Callable[[bytes], None]) -> int:
        """Hand all output to `sink`; return the exit code (negative: the signal).

        Raises `Stale`, `Cancelled` or `TimedOut`. In any case nothing that it started is left.
        """
        reading = _Reading(self._output, self._ended, self._watch, sink)
        try:
            reading.until_ended()
            reading.linger()
        except (Cancelled, TimedOut):
            processes.signal_group(self._pid, SIGTERM)
            reading.last_words(time.monotonic() + self._watch.grace)
            raise
        finally:
            code = self._finish()
            reading.rest()
            os.close(self._output)
        return code

    def _finish(self) -> int:
        # Killed before it is waited for: only until then the group's number is surely its own.
        processes.signal_group(self._pid, SIGKILL)
        processes.end_leftovers(self._pid, self._marker)
        os.close(self._ended)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


class _Reading:
    """Reads a command's output as fast as there is room for it."""

    def __init__(self, output: int, ended: int, watch: Watch, sink: Callable[[bytes], None]) -> None:
        self._output = output
        self._ended = ended
        self._watch = watch
        self._sink = sink
        self._open = True
        self._last = 0.0

    def until_ended(self) -> None:
        """Read until the command itself has ended. Raises as the watch does."""
        while True:
            self._watch.check()
            ready = self._wait(self._ended, timeout=self._watch.remaining)
            if self._ended in ready:
                return
            if self._output in ready:
                self._read()

    def last_words(self, gives_up: float) -> None:
        """Read until the command has ended and nobody has its output open any more, or until `gives_up`."""
        ended = False
        while (self._open or not ended) and (left := gives_up - time.monotonic()) > 0:
            ready = self._wait(*(() if ended else (self._ended,)), timeout=left)
            ended = ended or self._ended in ready
            if self._output in ready:
                self._read()

    def linger(self) -> None:
        """Read on until the pipe is closed or stays silent; children may hold it open for good."""
        gives_up = time.monotonic() + LONGEST_LINGER
        while self._open and time.monotonic() < gives_up:
            self._watch.check()
            had_room = self._watch.sender.has_room()
            ready = self._wait(timeout=LINGER)
            if self._output in ready:
                self._read()
            elif had_room and not ready:
                return

    def rest(self) -> None:
        """Read what is left in the pipe, now that nobody writes to it any more."""
        for _ in range(PIPE_BYTES // READ_BYTES + 1):
            if not self._open or not self._read():
                return

    def _wait(self, *others: int, timeout: float) -> set[int]:
        poll = select.poll()
        for descriptor in (*others, self._watch.bell.fd):
            poll.register(descriptor, select.POLLIN)
        if self._open and self._watch.sender.has_room():
            poll.register(self._output, select.POLLIN)
        elif self._open:
            timeout = min(timeout, ROOM_SECONDS)
        ready = {descriptor for descriptor, _ in poll.poll(timeout * 1000)}
        if self._watch.bell.fd in ready:
            self._watch.bell.clear()
        return ready

    def _read(self) -> bool:
        """Read once; whether there was anything."""
        if time.monotonic() - self._last < TRICKLE:
            time.sleep(TRICKLE)
        try:
            data = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._open = False
            return False
        # a full block means that there is more: no trickle
        self._last = 0.0 if len(data) >= READ_BYTES // 4 else time.monotonic()
        self._sink(data)
        return True


def _file_of(data: bytes) -> int:
    """A file of memory, for what no other process may find by a name."""
    file = os.memfd_create("given")
    os.write(file, data)
    os.lseek(file, 0, os.SEEK_SET)
    return file
