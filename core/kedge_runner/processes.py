"""Starts commands, and finds what they have left behind."""

from __future__ import annotations

# `signal` makes enumerations of all its constants when it is imported, and there are no stubs of `_signal`
import _signal  # type: ignore[import-not-found]
import os

#: an environment variable whose value is found in every process that an attempt has started
MARKER = "KEDGE_ATTEMPT_ID"

SIGTERM: int = _signal.SIGTERM
SIGKILL: int = _signal.SIGKILL
#: what Python ignores, and commands must not
RESTORED = (_signal.SIGPIPE, _signal.SIGXFSZ)
#: how often it is looked for processes that start others faster than they are killed
ROUNDS = 20


def start(argv: list[str], *, cwd: str, env: dict[str, str], output: int, given: int | None = None) -> int:
    """Start a command in a session of its own and return its pid. Raises `OSError`.

    It reads from `given`, or finds nothing to read.

    It changes this process's folder, for there is no other way to start one cheaply in `cwd`.
    """
    program = find_program(argv[0], env.get("PATH", os.defpath))
    if program is None:
        raise FileNotFoundError(2, "no such program", argv[0])
    os.chdir(cwd)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        if given is None
        else (os.POSIX_SPAWN_DUP2, given, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    return os.posix_spawn(
        program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=RESTORED
    )


def find_program(name: str, path: str) -> str | None:
    """Where the program lies that a name means."""
    if os.sep in name:
        return name if _is_program(name) else None
    places = (os.path.join(folder, name) for folder in path.split(os.pathsep) if folder.startswith(os.sep))
    return next(filter(_is_program, places), None)


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def on_terminate(handler: object) -> None:
    """Call `handler` when this process is asked to end."""
    _signal.signal(SIGTERM, handler)


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a command and its group. `leader` must not have been waited for."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass


def end_leftovers(leader: int, marker: bytes) -> None:
    """Kill what is left of a command: its session, and daemons that left it but kept its environment.

    Only processes with a higher number are looked at, which misses none unless numbers began anew; those
    are compute's to end.
    """
    spared = {os.getpid(), os.getppid()}
    for _ in range(ROUNDS):
        newer = {int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) > leader}
        found = [pid for pid in newer - spared if _end(pid, leader, marker)]
        if not found:
            return


def _end(pid: int, leader: int, marker: bytes) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # the descriptor was had first: the number cannot pass to another process unnoticed
        if not _belongs(pid, leader, marker):
            return False
        _signal.pidfd_send_signal(descriptor, SIGKILL)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _belongs(pid: int, leader: int, marker: bytes) -> bool:
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        fields = file.read(4096).rpartition(b")")[2].split()
    if fields[0] in {b"Z", b"X"}:
        return False
    if int(fields[3]) == leader:
        return True
    with open(f"/proc/{pid}/environ", "rb") as file:
        return marker in file.read().split(b"\0")
