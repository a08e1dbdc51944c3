"""A mean of which it is known how far chance may have it off."""

from __future__ import annotations

import math


class Mean:
    """Of all values while they are few, then of about the last `memory`: the newest count most."""

    __slots__ = ("_newest", "_share", "_variance", "count", "value")

    def __init__(self, memory: float) -> None:
        """Of no value."""
        self.count = 0
        self.value = 0.0
        self._newest = 1.0 / memory
        self._variance = 0.0
        #: the sum of the squares of the parts that all values so far have in the mean
        self._share = 1.0

    def add(self, value: float) -> None:
        """Take a value in."""
        part = max(self._newest, 1.0 / (self.count + 1))
        off = value - self.value
        self.count += 1
        self.value += part * off
        self._variance = (1.0 - part) * (self._variance + part * off * off)
        self._share = part * part + (1.0 - part) * (1.0 - part) * self._share

    def resume(self, count: int, value: float, square: float) -> None:
        """Go on from a mean of `count` values, and that of their squares."""
        self.count, self.value = count, value
        self._variance = max(square - value * value, 0.0)
        self._share = max(self._newest, 1.0 / max(count, 1))

    @property
    def square(self) -> float:
        """The mean of the squares of the values."""
        return self._variance + self.value * self.value

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self._variance * self._share)
