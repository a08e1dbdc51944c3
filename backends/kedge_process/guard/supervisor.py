"""Guards one runner: passes its order on, and sees to it that nothing the runner started outlives it.

A supervisor needs nothing of the Kedge that made it, once it has its order: it leaves a record of how the
runner ended for the next Kedge to find. Unless the plan says otherwise it goes on when Kedge is killed.
"""

from __future__ import annotations

import json
import os
import select
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
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        os.setsid()
        kernel.set_name("kedge-guard")
        keep_only(channel.fileno())
        Supervisor(channel, plan, run).guard()
    finally:
        os._exit(0)


class Supervisor:
    """The parent of one runner and of every process that the runner leaves behind."""

    def __init__(self, channel: socket.socket, plan: Plan, run: Callable[[dict[str, Any]], int]) -> None:
        """Start the runner; it waits for its order. Signals that are heard must be blocked."""
        self._channel = channel
        self._groups = Groups(plan["groups"], str(os.getpid()))
        self._quota = plan["quota"]
        self._outlives_kedge = plan["outlives_kedge"]
        self._status: int | None = None
        self._stopped = False
        self._last_words = b""
        self._adopts = kernel.adopt_orphans()
        orders, self._orders = os.pipe()
        self._errors, errors = os.pipe()
        supervisor = os.getpid()
        self._runner = os.fork()
        if self._runner == 0:
            become_runner(run, orders, errors, nice=plan["nice"], supervisor=supervisor)
        os.close(orders)
        os.close(errors)
        self._groups.apply(self._runner, self._quota)
        self._listen()

    def guard(self) -> None:
        """Wait for the order, pass it on, wait for the end, clean up, write the record."""
        data = self._await_order()
        if not data:
            self._sweep()
            self._groups.remove()
            return
        order: Order = json.loads(data)
        fd = record.reserve(f"{order['folder']}/exit.json")
        if order["quota"] != self._quota:
            self._groups.apply(self._runner, order["quota"])
        with suppress(BrokenPipeError):
            os.write(self._orders, data)
        os.close(self._orders)
        while self._status is None:
            if self._channel.fileno() in self._turn():
                # nothing comes but its end
                self._let_go()
                self._hear(END)
        self._let_go()
        left = self._sweep()
        if not self._adopts:
            me = processes.read(os.getpid())
            marker = f"{MARKER}={order['marker']}".encode()
            left = processes.end_strays(os.getpid(), me.start if me else 0, marker)
        ended = self._describe(left)
        self._groups.remove()
        record.write(fd, ended)

    def _listen(self) -> None:
        """Hear of signals, the channel and the runner's error output at one place."""
        self._signals, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, lambda *_: None)
        self._poll = select.poll()
        for fd in (self._signals, self._errors, self._channel.fileno()):
            self._poll.register(fd, select.POLLIN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

    def _await_order(self) -> bytes:
        """The order, or nothing if Kedge lets go or the runner has died waiting."""
        data = b""
        while self._status is None:
            if self._channel.fileno() in self._turn():
                data = self._channel.recv(MOST)
                break
        if self._outlives_kedge or not data:
            self._let_go()
        return data

    def _let_go(self) -> None:
        """Hear no more of Kedge. Safe twice."""
        if self._channel.fileno() >= 0:
            self._poll.unregister(self._channel.fileno())
            self._channel.close()

    def _turn(self, timeout: float | None = None) -> list[int]:
        """Wait until something happens, take note of it, and return where it happened."""
        ready = [fd for fd, _ in self._poll.poll(None if timeout is None else timeout * 1000)]
        if self._errors in ready:
            words = os.read(self._errors, 1 << 16)
            self._last_words = (self._last_words + words)[-ERRORS_KEPT:]
            if not words:
                self._poll.unregister(self._errors)
        if self._signals in ready:
            for number in os.read(self._signals, 1 << 10):
                self._hear(number)
        return ready

    def _hear(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif self._status is None:
            self._stopped = True
            os.kill(self._runner, signal.SIGTERM if number == ASK else signal.SIGKILL)

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
            self._turn(0.05)
        return 0

    def _describe(self, left: int) -> ExitRecord:
        # what was written last may still lie in the pipe, which someone may hold open
        os.set_blocking(self._errors, False)
        with suppress(BlockingIOError):
            while words := os.read(self._errors, 1 << 16):
                self._last_words = (self._last_words + words)[-ERRORS_KEPT:]
        code = os.waitstatus_to_exitcode(self._status or 0)
        return {
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "oom_kills": self._groups.oom_kills(),
            "stopped": self._stopped,
            "left": left,
            "errors": self._last_words.decode(errors="backslashreplace"),
        }
