"""How long requests took lately, kept in four numbers."""

from __future__ import annotations

import math
from array import array

_COUNT, _SUM, _SQUARES = range(3)


class Durations:
    """Mean and variance of the logarithm of durations: a few very slow requests do not decide anything."""

    __slots__ = ("_sums",)

    def __init__(self, sums: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        """Of no request, or of those that `sums` were taken of."""
        self._sums = array("d", sums)

    @property
    def sums(self) -> tuple[float, float, float]:
        """All that is known, to begin with another time."""
        count, total, squares = self._sums
        return count, total, squares

    def add(self, duration_ms: float) -> None:
        """Take a duration in."""
        value = math.log(max(duration_ms, 0.01))
        sums = self._sums
        sums[_COUNT] += 1.0
        sums[_SUM] += value
        sums[_SQUARES] += value * value

    def fade(self, factor: float) -> None:
        """Let what was so far count for `factor` of what it did. What is compared must fade alike."""
        for index in range(3):
            self._sums[index] *= factor

    @property
    def requests(self) -> float:
        """How many requests this rests on; old ones count for less than one."""
        return self._sums[_COUNT]

    @property
    def mean(self) -> float:
        """The mean logarithm; of at least one request."""
        return self._sums[_SUM] / self._sums[_COUNT]

    @property
    def typical_ms(self) -> float | None:
        """The geometric mean, or `None` of next to nothing."""
        return math.exp(self.mean) if self.requests >= 1.0 else None

    @property
    def error(self) -> float:
        """The standard error of the mean logarithm: of 0.01 the mean is known to one per cent."""
        if self.requests < 2.0:
            return math.inf
        variance = self._sums[_SQUARES] / self.requests - self.mean**2
        return math.sqrt(max(variance, 0.0) / (self.requests - 1.0))
