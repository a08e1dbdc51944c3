"""A program of its own: keeps the runner loaded and forks a fresh one on request.

Started by `python -I -S fork_server.py SOURCE`, with a control socket as standard input. A request is one
message with a socket attached; the answer is the pid of a child that waits for its assignment on that
socket. The server holds no secret and ends with its control socket; its children do not.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MESSAGE_BYTES = 65536
CONTROL = 0


def serve(source: str) -> None:
    """Fork runners until the other side is gone."""
    sys.path.insert(0, source)
    from kedge_runner.main import run

    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel reaps the children: whoever wants to know of an exit watches the process itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=CONTROL)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        if not message:
            os._exit(0)
        try:
            pid = os.fork()
        except OSError as error:
            control.send(json.dumps({"error": error.strerror}).encode())
        else:
            if pid == 0:
                become_runner(control, descriptors[0], run)
            control.send(json.dumps({"pid": pid}).encode())
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def become_runner(control: socket.socket, descriptor: int, run: Callable[[dict[str, Any]], int]) -> None:
    """In the child: let go of the server, wait for the assignment, do it. Never returns."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        control.detach()
        os.dup2(descriptor, 0)
        os.closerange(3, 64)
        with os.fdopen(0, "rb", closefd=False) as file:
            line = file.readline()
        if line:
            code = carry_out(json.loads(line), run)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def carry_out(assignment: dict[str, Any], run: Callable[[dict[str, Any]], int]) -> int:
    """Take on the limits and the workspace that the assignment names, then work."""
    place = assignment.pop("place")
    prepare(place)
    code = run(assignment)
    with open(place["exit_file"] + ".new", "w", encoding="utf-8") as file:
        file.write(str(code))
    os.replace(place["exit_file"] + ".new", place["exit_file"])
    return code


def prepare(place: dict[str, Any]) -> None:
    """Limits, environment, folder and standard streams of one attempt."""
    for group in place["cgroups"]:
        with open(os.path.join(group, "cgroup.procs"), "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))
    os.nice(place["nice"])
    for name, value in place["limits"].items():
        number = getattr(resource, name)
        _, hard = resource.getrlimit(number)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (limit, limit))
    os.environ.clear()
    os.environ.update(place["environment"])
    os.chdir(place["folder"])
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(place["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (errors, 1), (errors, 2)):
        os.dup2(descriptor, target)
    os.closerange(3, 64)


if __name__ == "__main__":
    serve(sys.argv[1])
