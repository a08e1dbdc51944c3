"""Guards one runner: passes its order on, and sees to it that nothing the runner started outlives it.

A supervisor needs nothing of the Kedge that made it, once it has its order: it goes on when Kedge is
killed, and leaves a record of how the runner ended for the next Kedge to find.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

from . import kernel, processes, record
from .cgroups import Groups
from .descriptors import keep_only
from .messages import MARKER, MOST
from .runner import become_runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, NoReturn

    from .messages import ExitRecord, Order, Plan

#: "ask the runner to end"
ASK = signal.SIGTERM
#: "end the runner and all it has started, now"
END = signal.SIGUSR1

HEARD = (signal.SIGCHLD, ASK, END)
#: seconds after which processes that will not die are left alone
PATIENCE = 10.0
#: how much of a runner's error output is kept
ERRORS_KEPT = 2000


def supervise(channel: socket.socket, plan: Plan, run: Callable[[dict[str, Any]], int]) -> NoReturn:
    """Be the supervisor of one runner, in a fresh fork. The order comes through `channel`."""
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (ASK, END))
        os.setsid()
        kernel.set_name("kedge-guard")
        keep_only(channel.fileno())
        Supervisor(channel, plan, run).guard()
    finally:
        os._exit(0)


class Supervisor:
    """The parent of one runner and of every process that the runner leaves behind."""

    def __init__(self, channel: socket.socket, plan: Plan, run: Callable[[dict[str, Any]], int]) -> None:
        """Start the runner; it waits for its order."""
        self._channel = channel
        self._groups = Groups(plan["groups"], str(os.getpid()))
        self._status: int | None = None
        self._stopped = False
        self._adopts = kernel.adopt_orphans()
        signal.signal(signal.SIGCHLD, self._died_waiting)
        orders, self._orders = os.pipe()
        self._errors, errors = os.pipe()
        # a full pipe must not stop the runner: what does not fit is dropped
        os.set_blocking(errors, False)
        os.set_blocking(self._errors, False)
        supervisor = os.getpid()
        self._runner = os.fork()
        if self._runner == 0:
            become_runner(run, orders, errors, nice=plan["nice"], supervisor=supervisor)
        os.close(orders)
        os.close(errors)
        self._groups.apply(self._runner, plan["quota"])
        self._quota = plan["quota"]

    def guard(self) -> None:
        """Wait for the order, pass it on, wait for the end, clean up, write the record."""
        data = self._channel.recv(MOST)
        self._channel.close()
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if not data:
            self._sweep()
            self._groups.remove()
            return
        order: Order = json.loads(data)
        fd = record.reserve(f"{order['folder']}/exit.json")
        if order["quota"] != self._quota:
            self._groups.apply(self._runner, order["quota"])
        self._pass_on(data)
        while self._status is None:
            self._hear(signal.sigwait(HEARD))
        left = self._sweep()
        if not self._adopts:
            me = processes.read(os.getpid())
            marker = f"{MARKER}={order['marker']}".encode()
            left = processes.end_strays(os.getpid(), me.start if me else 0, marker)
        ended = self._describe(left)
        self._groups.remove()
        record.write(fd, ended)

    def _died_waiting(self, *_: object) -> None:
        self._groups.remove()
        os._exit(1)

    def _pass_on(self, data: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._orders, data)
        os.close(self._orders)

    def _hear(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == ASK:
            self._stopped = True
            os.kill(self._runner, signal.SIGTERM)
        else:
            self._stopped = True
            os.kill(self._runner, signal.SIGKILL)

    def _reap(self) -> bool:
        """Take note of every child that has ended. False if there is no child any more."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._runner:
                self._status = status

    def _sweep(self) -> int:
        """Kill until no descendant is left; all of them become our children as their parents end."""
        deadline = time.monotonic() + PATIENCE
        while self._reap():
            self._groups.kill()
            left = processes.descendants(os.getpid())
            for process in left:
                processes.kill(process)
            if time.monotonic() > deadline:
                return len(left)
            signal.sigtimedwait(HEARD, 0.05)
        return 0

    def _describe(self, left: int) -> ExitRecord:
        status = self._status or 0
        errors = b""
        with suppress(BlockingIOError):
            while part := os.read(self._errors, 1 << 16):
                errors = (errors + part)[-ERRORS_KEPT:]
        code = os.waitstatus_to_exitcode(status)
        return {
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "oom_kills": self._groups.oom_kills(),
            "stopped": self._stopped,
            "left": left,
            "errors": errors.decode(errors="backslashreplace"),
        }
