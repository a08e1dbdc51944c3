"""The time, as the database keeps it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def to_datetime(moment: int) -> datetime:
    """The aware UTC datetime of a moment in milliseconds."""
    return datetime.fromtimestamp(moment / 1000, UTC)


def to_iso(moment: int | None) -> str | None:
    """ISO 8601 with milliseconds and `Z`, as the REST API writes times."""
    if moment is None:
        return None
    return to_datetime(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")
