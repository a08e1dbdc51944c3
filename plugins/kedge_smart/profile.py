"""Which back ends an invocation of a route waits for: how often, and which of them side by side."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kedge_smart.mean import Mean
from kedge_smart.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kedge import BackEndCall

#: about so many invocations are remembered; older ones fade
MEMORY = 1000.0
#: as to how many calls they make: 1.1 and 1.0 are told apart over many only
CALLS_MEMORY = 4000.0
#: waits told apart for each route, those that come most often
MOST_WAITS = 8
#: calls side by side that are told apart
MOST_TOGETHER = 8
#: back ends remembered for each route
MOST_HOSTS = 8
#: standard errors that an average has to be above something: it is asked again and again
DOUBT = 4.0
_HUGE = 1e12

#: calls side by side: (back end, round trips) of each, sorted
Wait = tuple[tuple[str, int], ...]


class Profile:
    """Means over recent invocations. Each one costs as many steps as it has calls, however many are known.

    Instead of making all sums smaller with every invocation, each new one weighs a little more.
    """

    __slots__ = ("_calls", "_total", "_waits", "_weight", "_work", "ignored", "invocations")

    def __init__(self) -> None:
        """Nothing is known."""
        self.invocations = 0
        #: back ends whose answer no response waited for
        self.ignored: set[str] = set()
        self._weight = 1.0
        self._total = 0.0
        self._calls = Mean(CALLS_MEMORY)
        self._waits: dict[Wait, float] = {}
        self._work: dict[str, Work] = {}

    def add(self, calls: Sequence[Sequence[BackEndCall]], ways: Iterable[float | None]) -> None:
        """Take an invocation in; `ways` tells the round-trip time to the back end of each call in turn."""
        self.invocations += 1
        self._weight /= 1.0 - 1.0 / MEMORY
        self._total += self._weight
        self._calls.add(sum(call.awaited for together in calls for call in together))
        way = iter(ways)
        for together in calls:
            for call in together:
                self._learn(call, next(way))
            # the same call twice side by side takes no longer than once
            distinct = {(sys.intern(call.host), call.rounds) for call in together if call.awaited}
            if distinct:
                wait = tuple(sorted(distinct)[:MOST_TOGETHER])
                self._waits[wait] = self._waits.get(wait, 0.0) + self._weight
        while len(self._waits) > MOST_WAITS:
            del self._waits[min(self._waits, key=self._waits.__getitem__)]
        if self._weight > _HUGE:
            self._shrink()

    @property
    def calls(self) -> tuple[float, float]:
        """Calls that an invocation waits for on average, at least and at most: chance leaves that open."""
        doubt = DOUBT * self._calls.error
        return self._calls.value - doubt, self._calls.value + doubt

    @property
    def work(self) -> dict[str, float]:
        """Back end → milliseconds that a call is at work there, the way left out."""
        return {host: work.ms for host, work in self._work.items()}

    def means(self) -> tuple[float, float]:
        """Awaited calls of an invocation, and their square, on average."""
        return self._calls.value, self._calls.square

    def resume(
        self,
        invocations: int,
        calls: float,
        squares: float,
        waits: dict[Wait, float],
        work: Mapping[str, float],
    ) -> None:
        """Go on from averages over so many invocations, of which about `MEMORY` are remembered."""
        self.invocations = invocations
        self._total = self._weight * min(invocations, MEMORY)
        self._calls.resume(invocations, calls, squares)
        self._waits = {
            tuple((sys.intern(host), rounds) for host, rounds in wait[:MOST_TOGETHER]): often * self._total
            for wait, often in list(waits.items())[:MOST_WAITS]
            if self._total
        }
        self._work = {host: Work(ms) for host, ms in list(work.items())[:MOST_HOSTS]}

    def waits(self) -> dict[Wait, float]:
        """How often an invocation waits for which calls, on average."""
        return {wait: weight / self._total for wait, weight in self._waits.items()}

    def _learn(self, call: BackEndCall, way: float | None) -> None:
        if not call.awaited:
            if len(self.ignored) < MOST_HOSTS:
                self.ignored.add(call.host)
            return
        self.ignored.discard(call.host)
        if way is None:
            return
        work = self._work.get(call.host)
        if work is None:
            if len(self._work) >= MOST_HOSTS:
                return
            work = self._work[call.host] = Work()
        work.add(call.duration_ms, call.rounds * way)

    def _shrink(self) -> None:
        factor = 1.0 / self._weight
        self._weight = 1.0
        self._total *= factor
        self._waits = {wait: weight * factor for wait, weight in self._waits.items()}
