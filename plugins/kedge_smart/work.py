"""How long a back end is at work for a call."""

from __future__ import annotations

import math

#: about so many calls are remembered
MEMORY = 200.0
#: no duration is taken for shorter, in milliseconds
SHORTEST = 0.01


class Work:
    """What calls take beyond the way there, in milliseconds.

    Durations scatter by a factor. So this is what, together with the way, comes to the geometric mean of the
    calls, which is the mean that is taken of requests too. What is left of each call by itself, and nothing
    where that is less, would come to too much, and to more where the way is long.
    """

    __slots__ = ("_calls", "ms")

    def __init__(self, ms: float | None = None) -> None:
        """Of no call, or known from many."""
        self.ms = ms or 0.0
        self._calls = 0.0 if ms is None else MEMORY

    def add(self, duration_ms: float, way_ms: float) -> None:
        """Take a call in; its round trips take `way_ms`."""
        self._calls = min(self._calls + 1.0, MEMORY)
        expected = max(way_ms + self.ms, SHORTEST)
        if self._calls > 1.0:
            off = expected * math.log(max(duration_ms, SHORTEST) / expected)
        else:
            off = duration_ms - expected
        self.ms = max(self.ms + off / self._calls, 0.0)
