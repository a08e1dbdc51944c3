"""A few requests that run somewhere else, to see whether they are faster there."""

from __future__ import annotations

import math
import random

from kedge_smart.durations import Durations

#: share of the requests that take part, and how many between two reviews
SHARE, AT_ONCE = 0.2, 5
#: the first ones start programs and fill caches: they do not count
WARMING = 2
#: requests that say something, and that say enough
LEAST, MOST = 10, 40
#: seconds after which a trial is in vain
LONGEST = 3600.0
#: how many standard errors a difference has to be from chance
CERTAINTY = 3.0


class Trial:
    """One other location, and what requests take there and where they run else, at the same time.

    What it costs is bounded: it ends after so many requests, or so many seconds.
    """

    __slots__ = ("_allowed", "_begun_on", "_warming", "location", "stayed", "there")

    def __init__(self, location: str, now: float) -> None:
        """No request was tried yet."""
        self.location = location
        self.there = Durations()
        self.stayed = Durations()
        self._begun_on = now
        self._warming = WARMING
        self._allowed = AT_ONCE

    def takes(self) -> bool:
        """Whether the next request runs there."""
        if self._allowed == 0 or random.random() >= SHARE:  # noqa: S311  (a sample, no secret)
            return False
        self._allowed -= 1
        return True

    def go_on(self) -> None:
        """A review is over: some more may run there."""
        self._allowed = AT_ONCE

    def record(self, location: str, duration_ms: float, present: str) -> None:
        """Take a duration in; `present` is where requests run that do not take part."""
        if location == present:
            self.stayed.add(duration_ms)
        elif location == self.location and self._warming:
            self._warming -= 1
        elif location == self.location:
            self.there.add(duration_ms)

    def is_faster(self, margin: float, now: float) -> bool | None:
        """Whether requests take less by `margin` there, beyond doubt; `None` if that is still open."""
        over = now - self._begun_on > LONGEST or self.there.requests >= MOST
        if min(self.there.requests, self.stayed.requests) < LEAST:
            return False if over else None
        least = self.stayed.mean - self.there.mean + math.log1p(-margin)
        # the fewer there are, the less is their spread known itself; and this is asked again and again
        doubt = (
            CERTAINTY * math.hypot(self.stayed.error, self.there.error) * (1.0 + 4.0 / self.there.requests)
        )
        if least > doubt:
            return True
        return False if over or least < -doubt else None
