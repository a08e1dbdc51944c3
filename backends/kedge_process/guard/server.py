"""Forks supervisors from an interpreter that has imported the runner already: a fork takes 1 ms, a start 20.

It holds no secret and guards nothing: when it ends, because Kedge does, the builds go on.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

from . import kernel, processes
from .descriptors import keep_only
from .messages import MOST
from .supervisor import supervise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .messages import Plan


def main() -> None:
    """Serve the Kedge at the other end of standard input until it is gone."""
    kernel.set_name("kedge-forks")
    kedge = socket.socket(fileno=os.dup(0))
    keep_only(kedge.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # supervisors are not waited for
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    plan: Plan = json.loads(kedge.recv(MOST))
    try:
        run = _import_runner(plan)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with the runner, its user has to read it)
        # a socket that is closed before all is read takes its last words with it
        kedge.recv(MOST)
        _say(kedge, {"refused": f"{type(error).__name__}: {error}"})
        return
    gc.collect()
    gc.freeze()
    while kedge.recv(MOST):
        _fork(kedge, plan, run)
    # nothing is left to tidy up, and a node that stops waits for this
    os._exit(0)


def _import_runner(plan: Plan) -> Callable[[dict[str, Any]], int]:
    # the first entry is this package's own folder; nothing of a build may be found there
    sys.path[0] = plan["folder"]
    __import__(plan["module"])
    function: Callable[[dict[str, Any]], int] = getattr(sys.modules[plan["module"]], plan["function"])
    return function


def _fork(kedge: socket.socket, plan: Plan, run: Callable[[dict[str, Any]], int]) -> None:
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
    except OSError as error:
        _say(kedge, {"busy": error.strerror})
        return
    if pid == 0:
        # our end must be closed before the supervisor waits: else it would hold its own channel open
        ours.detach()
        kedge.detach()
        supervise(theirs, plan, run)
    theirs.close()
    process = processes.read(pid)
    with ours:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            _say(kedge, {"busy": error.strerror})
            return
        _say(kedge, {"pid": pid, "start": process.start if process else 0}, ours.fileno(), pidfd)
        os.close(pidfd)


def _say(kedge: socket.socket, answer: dict[str, Any], *fds: int) -> None:
    socket.send_fds(kedge, [json.dumps(answer).encode()], list(fds))
