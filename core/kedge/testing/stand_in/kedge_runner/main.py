"""A runner that calls the test and does the steps it is told. See `kedge.testing.orders.Orders`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    """Do one assignment: from the environment, from the file that it names, or from standard input."""
    line, path = os.environ.pop("KEDGE_ASSIGNMENT", ""), os.environ.pop("KEDGE_ASSIGNMENT_FILE", "")
    line = line or (Path(path).read_text(encoding="utf-8") if path else sys.stdin.readline())
    return run(json.loads(line)) if line.strip() else 4


def run(assignment: dict[str, Any]) -> int:
    """Say hello, do the steps that come back, return the exit code."""
    connection = _call(assignment, "runner")
    for step in json.loads(_line(connection)):
        code = _do(step, assignment, connection)
        if code is not None:
            return code
    return 0


def _call(assignment: dict[str, Any], role: str) -> socket.socket:
    connection = _connect(assignment["endpoint"])
    hello = {
        **assignment,
        "role": role,
        "pid": os.getpid(),
        "machine": socket.gethostname(),
        "cwd": str(Path.cwd()),
        "environ": dict(os.environ),
    }
    connection.sendall(json.dumps(hello).encode() + b"\n")
    return connection


def _connect(endpoint: str) -> socket.socket:
    if endpoint.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(endpoint.removeprefix("unix:"))
        return connection
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)))


def _line(connection: socket.socket) -> bytes:
    """The next line, or an empty one when the test is over: nothing may outlive it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        line += byte
    return line


def _do(step: list[Any], assignment: dict[str, Any], connection: socket.socket) -> int | None:
    name, *arguments = step
    if name == "exit":
        return int(arguments[0])
    if name == "wait":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        return 0 if not _line(connection) else None
    if name == "ignore":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        return 0 if not _line(connection) else None
    return _misbehave(name, arguments, assignment)


def _misbehave(name: str, arguments: list[Any], assignment: dict[str, Any]) -> int | None:
    if name == "daemon":
        _daemonise(assignment)
    elif name == "command":
        subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
    elif name == "say":
        sys.stderr.write(arguments[0] * arguments[1])
    elif name == "raise":
        raise RuntimeError(arguments[0])
    elif name == "kill":
        os.kill(os.getpid(), arguments[0])
    elif name == "eat":
        _keep.append(b"x" * arguments[0])
    elif name == "write":
        with Path("large").open("wb") as file:
            file.write(bytes(arguments[0]))
    return None


_keep: list[bytes] = []


def _daemonise(assignment: dict[str, Any]) -> None:
    """Leave a process behind that has cut every tie: forked twice, in its own session, deaf to signals."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _line(_call(assignment, "daemon"))
    os._exit(0)
