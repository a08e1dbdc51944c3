"""Finds the processes of an attempt that have left its process group, by the mark in their environment."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge_process.cgroups import Group

MARK = "KEDGE_ATTEMPT_ID"
PATIENCE = 5.0


def end_everything(attempt: str, session: int, group: Group) -> None:
    """Kill whatever an attempt has left running, until nothing of it is left."""
    gives_up = time.monotonic() + PATIENCE
    while time.monotonic() < gives_up:
        group.kill()
        pids = group.pids() if group.folders else find(attempt, session)
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def find(attempt: str, session: int) -> set[int]:
    """Processes of the session, and those that carry the mark."""
    mark = f"{MARK}={attempt}".encode()
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and _belongs(Path(entry.path), mark, session):
            found.add(int(entry.name))
    return found - {os.getpid()}


def _belongs(process: Path, mark: bytes, session: int) -> bool:
    try:
        fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
        if fields[0] in {b"Z", b"X"}:
            return False
        return int(fields[3]) == session or mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
