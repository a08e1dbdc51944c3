"""Processes by identity, never by number alone: numbers are used again."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = "/proc"


class Process:
    """One process as `/proc` shows it.

    `start` is the time from boot to its start: with the pid, its identity until the next boot.
    """

    __slots__ = ("parent", "pid", "session", "start", "zombie")

    def __init__(self, pid: int, stat: bytes) -> None:
        """Read the content of `/proc/PID/stat`."""
        # the name, in brackets, may itself hold brackets and spaces
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.zombie = fields[0] in {b"Z", b"X"}
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.start = int(fields[19])


def read(pid: int) -> Process | None:
    """What `/proc` says of `pid`, or `None` if there is no such process."""
    try:
        return Process(pid, _content(f"{PROC}/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def everyone() -> Iterator[Process]:
    """Every process of the machine that still runs."""
    for name in os.listdir(PROC):
        if name.isdigit() and (process := read(int(name))) is not None and not process.zombie:
            yield process


def boot_id() -> str:
    """A name for the time since the machine's last boot."""
    return _content(f"{PROC}/sys/kernel/random/boot_id").decode().strip()


def open_pidfd(pid: int, start: int) -> int | None:
    """A descriptor of exactly that process, or `None` if it has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # read after the descriptor was had: now the number cannot pass to another unnoticed
    process = read(pid)
    if process is None or process.start != start or has_ended(fd):
        os.close(fd)
        return None
    return fd


def has_ended(pidfd: int, *, within: float = 0) -> bool:
    """Whether the process of a pidfd ends within so many seconds, or has ended, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(within * 1000))


def kill(process: Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to that very process, if it is still there and may be signalled."""
    fd = open_pidfd(process.pid, process.start)
    if fd is None:
        return
    try:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def descendants(root: int) -> list[Process]:
    """The children of `root`, their children, and so on."""
    children: dict[int, list[Process]] = {}
    for process in everyone():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    parents = [root]
    while parents:
        born = children.get(parents.pop(), [])
        found += born
        parents += [process.pid for process in born]
    return found


def strays(session: int, started: int, marker: bytes) -> list[Process]:
    """What a supervisor has left: members of its session, or marked by `marker` in their environment.

    A session's number is not given to another while one member lives, so a process of that number
    that started at another time means that the session is over.
    """
    leader = read(session)
    session_over = leader is not None and leader.start != started
    return [
        process
        for process in everyone()
        if process.pid != os.getpid()
        if (process.session == session and not session_over) or _is_marked(process.pid, marker)
    ]


def _is_marked(pid: int, marker: bytes) -> bool:
    try:
        environ = _content(f"{PROC}/{pid}/environ")
    except OSError:
        return False
    return marker in environ.split(b"\0")


def end_strays(session: int, started: int, marker: bytes, *, patience: float = 10.0) -> int:
    """Kill strays, and what they start meanwhile, until none is left. Returns how many will not die."""
    deadline = time.monotonic() + patience
    while left := strays(session, started, marker):
        if time.monotonic() > deadline:
            break
        for process in left:
            kill(process)
        time.sleep(0.005)
    return len(left)
