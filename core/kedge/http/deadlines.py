"""Times by which something has to happen, with one timer for all of them."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

#: deadlines are met within so many seconds
GRAIN = 0.05


class Timed(Protocol):
    """Something that has a deadline, on the loop's clock; `math.inf` while it has none."""

    deadline: float

    def expired(self) -> None:
        """The deadline is over. Its deadline has been taken away."""
        ...


class Deadlines:
    """Looks at all deadlines when the earliest is due. To move one later costs nothing but an assignment."""

    def __init__(self) -> None:
        """Nothing to watch yet; for the running loop."""
        self._loop = asyncio.get_running_loop()
        self._watched: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def watch(self, timed: Timed) -> None:
        """From now on."""
        self._watched.add(timed)

    def forget(self, timed: Timed) -> None:
        """Its deadline counts no more."""
        self._watched.discard(timed)

    def set(self, timed: Timed, seconds: float) -> None:
        """Give it so long from now."""
        deadline = timed.deadline = self._loop.time() + seconds
        if deadline < self._due:
            self._wake_at(deadline)

    def _wake_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due + GRAIN, self._look)

    def _look(self) -> None:
        self._timer, self._due = None, math.inf
        now = self._loop.time()
        for timed in [one for one in self._watched if one.deadline <= now]:
            timed.deadline = math.inf
            timed.expired()
        earliest = min((one.deadline for one in self._watched), default=math.inf)
        if earliest < self._due:
            self._wake_at(earliest)
