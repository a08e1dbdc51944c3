"""The time, as the database keeps it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: by how much this machine's clock may differ from what was seen of the database's
TOLERANCE_MS = 20


class _Correction:
    """What is added to this machine's clock."""

    ms = 0


def now_ms() -> int:
    """Milliseconds since 1970, by the clock of the database where several nodes share one."""
    return time.time_ns() // 1_000_000 + _Correction.ms


def keep_to(moment: int, *, asked_on: int, answered_on: int) -> int:
    """Go by the clock of the database from now on; return by how much that changes this one's.

    It said `moment` between two moments of `now_ms`. Only what is certainly wrong is corrected: a slow answer
    changes nothing.
    """
    change = 0
    if moment < asked_on - TOLERANCE_MS:
        change = moment - asked_on
    elif moment > answered_on + TOLERANCE_MS:
        change = moment - answered_on
    _Correction.ms += change
    return change


def to_datetime(moment: int) -> datetime:
    """The aware UTC datetime of a moment in milliseconds."""
    return datetime.fromtimestamp(moment / 1000, UTC)


def to_iso(moment: int | None) -> str | None:
    """ISO 8601 with milliseconds and `Z`, as the REST API writes times."""
    if moment is None:
        return None
    return to_datetime(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")
