"""What calls to back ends took, beyond what the way there tells."""

from __future__ import annotations

import math
from collections import defaultdict

from kedge_smart.mean import Mean

#: about so many calls are remembered
MEMORY = 20.0
#: so many calls contradict a measurement, and so few elsewhere tell what is usual
MANY, SOME = 20, 5
#: less than this is no contradiction, in milliseconds
SMALL = 10.0
#: what calls tell has to differ by so many standard errors
CERTAINTY = 3.0


class Calls:
    """Of each back end and location, the milliseconds of a round trip that no measured way explains.

    They are the back end's own time, and so about the same everywhere. Where they are more than that by the
    measured way again, beyond doubt, the measurement is wrong: something nearer answers it, or it is a lie.
    """

    def __init__(self) -> None:
        """Of no call."""
        self._unexplained: defaultdict[str, dict[str, Mean]] = defaultdict(dict)

    def add(self, location: str, back_end: str, unexplained_ms: float) -> None:
        """Take a call in."""
        of = self._unexplained[back_end]
        mean = of.get(location)
        if mean is None:
            mean = of[location] = Mean(MEMORY)
        mean.add(unexplained_ms)

    def untold(self, location: str, back_end: str, measured_ms: float) -> float:
        """How much longer the way is than what was measured, as far as that is beyond doubt."""
        of = self._unexplained.get(back_end)
        here = of.get(location) if of else None
        if of is None or here is None or here.count < MANY:
            return 0.0
        others = [other for name, other in of.items() if name != location and other.count >= SOME]
        usual = min(others, key=lambda other: other.value, default=here)
        excess = here.value - max(usual.value, 0.0)
        doubt = CERTAINTY * math.hypot(here.error, usual.error)
        return excess if excess - doubt > measured_ms + SMALL else 0.0
