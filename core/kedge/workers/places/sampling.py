"""Which requests are measured: all of those that are few, some of those that are many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: of a worker that was not seen yet so many requests are measured at once
FIRST = 1000
#: and later so many in a turn, of so many seconds
MOST, TURN = 25, 0.25
MOST_WORKERS = 1024


class Sampling:
    """Measuring more would tell little more of a worker, and cost its visitors time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        #: worker → how many it has left in this turn, and how many were left out that none stands for yet
        self._left: dict[str, int] = {}
        self._out: dict[str, int] = {}
        self._over = 0.0

    def stands_for(self, worker_id: str) -> int:
        """For how many requests of its worker the present one stands; 0 if it is left out.

        Those that are measured in a turn share those that were left out before: one alone that stood for
        all of them would outweigh the others.
        """
        left = self._left.get(worker_id, FIRST)
        if left == 0:
            now = self._clock()
            if now < self._over:
                self._out[worker_id] = self._out.get(worker_id, 0) + 1
                return 0
            self._over = now + TURN
            if len(self._left) > MOST_WORKERS:
                self._left.clear()
                self._out.clear()
            self._left = dict.fromkeys(self._left, MOST)
            left = MOST
        self._left[worker_id] = left - 1
        out = self._out.get(worker_id, 0)
        if not out:
            return 1
        share = -(-out // left)
        self._out[worker_id] = out - share
        return 1 + share
