"""How a runner ended, written by its supervisor for whichever Kedge asks later."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: written before the runner starts, so that a full disk cannot swallow the record
RESERVED = 4096


@dataclass(frozen=True, kw_only=True)
class ExitRecord:
    """The end of one runner."""

    exit_code: int | None = None
    #: the signal that killed it
    signal: int | None = None
    #: processes that were killed for want of memory
    oom_kills: int = 0
    #: whether it had been asked to stop
    stopped: bool = False
    #: processes that could not be killed
    left: int = 0
    #: the last it wrote to its error output
    errors: str = ""


def reserve(path: str) -> int:
    """Make an empty record and return its descriptor."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(fd, b" " * RESERVED)
    return fd


def write(fd: int, record: ExitRecord) -> None:
    """Fill the reserved record in one write."""
    data = json.dumps(asdict(record)).encode()
    os.pwrite(fd, data.ljust(RESERVED), 0)


def read(path: Path) -> ExitRecord | None:
    """The record, or `None` if the supervisor did not live to write it."""
    try:
        fields = json.loads(path.read_bytes())
        return ExitRecord(**fields)
    except (OSError, ValueError, TypeError):
        return None
