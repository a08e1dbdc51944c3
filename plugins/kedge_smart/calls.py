"""What calls to back ends took, beyond what the way there tells."""

from __future__ import annotations

from collections import defaultdict

#: the part that the newest call tells
NEWEST = 0.05
#: so many calls contradict a measurement, and so few elsewhere tell what is usual
MANY, SOME = 20, 5
#: less than this is no contradiction, in milliseconds
SMALL = 10.0


class Calls:
    """Of each back end and location, the milliseconds of a round trip that no measured way explains.

    They are the back end's own time, and so about the same everywhere. Where they are more than that by the
    measured way again, the measurement is wrong: something nearer answers it, or it is a lie.
    """

    def __init__(self) -> None:
        """Of no call."""
        #: back end → location → (calls, mean)
        self._unexplained: defaultdict[str, dict[str, tuple[int, float]]] = defaultdict(dict)

    def add(self, location: str, back_end: str, unexplained_ms: float) -> None:
        """Take a call in."""
        of = self._unexplained[back_end]
        calls, mean = of.get(location, (0, 0.0))
        part = max(NEWEST, 1.0 / (calls + 1))
        of[location] = (calls + 1, mean + part * (unexplained_ms - mean))

    def untold(self, location: str, back_end: str, measured_ms: float) -> float:
        """How much longer the way is than what was measured, as far as that is beyond doubt."""
        of = self._unexplained.get(back_end)
        calls, mean = of.get(location, (0, 0.0)) if of else (0, 0.0)
        if of is None or calls < MANY:
            return 0.0
        usual = min(
            (other for name, (some, other) in of.items() if name != location and some >= SOME), default=mean
        )
        excess = mean - max(usual, 0.0)
        return excess if excess > measured_ms + SMALL else 0.0
