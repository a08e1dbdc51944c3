"""How a runner ended, written by its supervisor for whichever Kedge asks later."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .messages import ExitRecord

#: written before the runner starts, so that a full disk cannot swallow the record
RESERVED = 16384
NUMBERS = ("exit_code", "signal", "oom_kills", "left")


def reserve(path: str) -> int:
    """Make an empty record and return its descriptor."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(fd, b" " * RESERVED)
    return fd


def write(fd: int, record: ExitRecord) -> None:
    """Fill the reserved record in one write."""
    os.pwrite(fd, json.dumps(record).encode().ljust(RESERVED), 0)


def read(path: str) -> ExitRecord | None:
    """The record, or `None` if the supervisor did not live to write it."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(2 * RESERVED))
    except (OSError, ValueError):
        return None
    return found if _is_record(found) else None


def _is_record(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and all(name in found and isinstance(found[name], (int, type(None))) for name in NUMBERS)
        and isinstance(found.get("stopped"), bool)
        and isinstance(found.get("errors"), str)
    )
