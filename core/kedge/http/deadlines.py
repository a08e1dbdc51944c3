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
    """Looks at all deadlines when the earliest is due; to set one is an assignment.

    Whoever sets one that is earlier than `due` calls `wake_at`.
    """

    def __init__(self) -> None:
        """Nothing to watch yet; for the running loop."""
        self._loop = asyncio.get_running_loop()
        self._watched: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = None
        #: when they are looked at next
        self.due = math.inf

    def watch(self, timed: Timed) -> None:
        """From now on."""
        self._watched.add(timed)

    def forget(self, timed: Timed) -> None:
        """Its deadline counts no more."""
        self._watched.discard(timed)

    def wake_at(self, due: float) -> None:
        """Somebody has a deadline that is earlier than `due` says."""
        if self._timer is not None:
            self._timer.cancel()
        self.due = due
        self._timer = self._loop.call_at(due + GRAIN, self._look)

    def _look(self) -> None:
        self._timer, self.due = None, math.inf
        now = self._loop.time()
        for timed in [one for one in self._watched if one.deadline <= now]:
            timed.deadline = math.inf
            timed.expired()
        earliest = min((one.deadline for one in self._watched), default=math.inf)
        if earliest < self.due:
            self.wake_at(earliest)
