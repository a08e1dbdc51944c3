"""Runs one runner and ends with it all that it has started, daemons included.

A program of its own, started as `python -I -S guard.py FOLDER`, where FOLDER holds `kedge_runner`:
it needs the standard library only. SIGTERM is passed on to the runner; SIGUSR1 kills everything.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

SIGNALS = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}
#: of Linux's prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Return when nothing is left, in the way in which the runner ended."""
    # What loses its parent becomes our child instead of init's, so that we can find it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # If the node is killed, nobody could ask us any more: then we are told by the kernel.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    runner = os.fork()
    if runner == 0:
        become_runner()
    status = watch(runner)
    kill_the_rest()
    if os.WIFSIGNALED(status):
        end_by_signal(os.WTERMSIG(status))
    sys.exit(os.WEXITSTATUS(status))


def become_runner() -> None:
    """Run the runner in this process."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    sys.path[0] = sys.argv[1]
    from kedge_runner.main import main as run  # it lies in the folder that was given

    sys.exit(run())


def watch(runner: int) -> int:
    """Pass signals on until the runner ends; return its wait status."""
    while True:
        number = signal.sigwait(SIGNALS)
        if number == signal.SIGCHLD:
            with suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    if ended[0] == runner:
                        return ended[1]
        else:
            os.kill(runner, signal.SIGTERM if number == signal.SIGTERM else signal.SIGKILL)


def kill_the_rest() -> None:
    """Kill our children, and theirs as they become ours, until there are none."""
    with suppress(ChildProcessError):
        while True:
            for child in children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def children() -> list[int]:
    """The processes whose parent we are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name before the last ")" may hold anything; the parent is the second field after it.
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def end_by_signal(number: int) -> None:
    """End as the runner has, so that whoever started us sees why."""
    with suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    main()
