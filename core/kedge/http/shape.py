"""The names of a head's headers; what follows from them alone is worked out once for all heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Names = tuple[bytes, ...]
#: shapes that are remembered, and how many bytes the names of such a one may have
MOST_SHAPES = 512
LONGEST = 1024


class Shape(dict[Callable[[Names], Any], Any]):
    """Programs say the same names in the same order again and again: `shape[question]` is asked once.

    A question is a function of the names, in lower case and in their order.
    """

    __slots__ = ("names", "said")

    def __init__(self, names: Names) -> None:
        """Nothing was asked yet."""
        super().__init__()
        self.names = names
        self.said = frozenset(names)

    def __missing__(self, question: Callable[[Names], Any]) -> Any:
        answer = self[question] = question(self.names)
        return answer


class Shapes(dict[Names, Shape]):
    """Shapes by names as they came in."""

    def __missing__(self, names: Names) -> Shape:
        shape = Shape(tuple(name.lower() for name in names))
        if sum(map(len, names)) <= LONGEST:
            if len(self) >= MOST_SHAPES:
                # whoever makes names up must not keep out for ever those that are used
                self.clear()
            self[names] = shape
        return shape


SHAPES = Shapes()
