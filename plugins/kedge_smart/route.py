"""What is known of one route of a worker, at each location that its requests come in at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import PlacementStatus
from kedge_smart.damping import Damping
from kedge_smart.durations import Durations
from kedge_smart.profile import Profile
from kedge_smart.slowness import Slowness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: a surprise about a location that was left is forgotten by half in so many seconds
SURPRISE_HALF_LIFE = 24 * 3600.0
#: durations count for half after so many seconds
HALF_LIFE = 1800.0
#: of the locations that will not do, those of which that is known last
MOST_SURPRISES = 4


class Entry:
    """Requests of one route that come in at one location."""

    __slots__ = (
        "baseline",
        "damping",
        "decided_on",
        "here",
        "location",
        "moved_on",
        "reason",
        "slowness",
        "status",
        "surprises",
    )

    def __init__(self, entry: str) -> None:
        """They run where they come in."""
        self.location = entry
        self.status = PlacementStatus.INSUFFICIENT_INVOCATIONS
        self.reason = "too little traffic to tell"
        #: durations of those that run where they come in
        self.baseline = Durations()
        #: durations of those that were sent to `location`
        self.here: Durations | None = None
        self.decided_on: float | None = None
        self.moved_on: float | None = None
        #: location left → (milliseconds that it took longer than expected, when it was left)
        self.surprises: dict[str, tuple[float, float]] | None = None
        self.slowness = Slowness()
        self.damping = Damping()

    @property
    def requests(self) -> float:
        """How many came in lately."""
        return self.baseline.requests + (self.here.requests if self.here else 0.0)

    def present(self, entry: str) -> Durations | None:
        """Durations where they run now."""
        return self.baseline if self.location == entry else self.here

    def replace_present(self, entry: str, durations: Durations) -> None:
        """Go on from newer durations where they run now."""
        if self.location == entry:
            self.baseline = durations
        else:
            self.here = durations

    def record(self, location: str, duration_ms: float, entry: str) -> None:
        """Take a duration in; late ones from a location that was left do not count."""
        if self.slowness.trial is not None:
            self.slowness.trial.record(location, duration_ms, self.location)
        if location == entry:
            self.baseline.add(duration_ms)
        elif location == self.location and self.here is not None:
            self.here.add(duration_ms)

    def fade(self, seconds: float) -> None:
        """Time passed."""
        factor = 0.5 ** (seconds / HALF_LIFE)
        self.baseline.fade(factor)
        if self.here is not None:
            self.here.fade(factor)

    def move(self, entry: str, location: str, surprise: float | None, now: float) -> None:
        """Run somewhere else from now on; `surprise` is remembered of the place that is left."""
        if self.location != entry and surprise is not None:
            self.remember({self.location: surprise}, now)
        self.slowness.begin_anew()
        self.location = location
        self.here = None if location == entry else Durations()
        self.moved_on = now

    def remember(self, surprises: Mapping[str, float], now: float) -> None:
        """Of locations that will not do: by how many milliseconds they are slower than expected."""
        known = self.surprises or {}
        for place, late in surprises.items():
            known.pop(place, None)
            known[place] = (late, now)
        while len(known) > MOST_SURPRISES:
            del known[next(iter(known))]
        self.surprises = known or None

    def left_lately(self, location: str, now: float, seconds: float) -> bool:
        """Whether requests were taken away from there not long ago."""
        if location == self.location or self.surprises is None or location not in self.surprises:
            return False
        return now - self.surprises[location][1] < seconds

    def surprise(self, location: str, now: float) -> float:
        """How many milliseconds longer than expected it took at a location that was left."""
        if self.surprises is None or location not in self.surprises:
            return 0.0
        surprise, seen_on = self.surprises[location]
        return float(surprise * 0.5 ** ((now - seen_on) / SURPRISE_HALF_LIFE))


class Route:
    """One route: the back ends it uses, and its entries."""

    __slots__ = ("entries", "profile")

    def __init__(self) -> None:
        """Nothing is known."""
        self.profile = Profile()
        self.entries: dict[str, Entry] = {}


class Routes:
    """All routes of one worker, in bounded memory."""

    #: routes told apart; the rest are one
    MOST_ROUTES = 12
    REST = "*"

    def __init__(self, most_entries: int) -> None:
        """No requests yet; so many pairs of route and entry are watched."""
        self._most_entries = most_entries
        self.routes: dict[str, Route] = {}
        self._entries = 0

    def find(self, name: str, entry: str) -> Entry | None:
        """The entry of a request, if it is watched."""
        route = self.routes.get(name) or self.routes.get(self.REST)
        return None if route is None else route.entries.get(entry)

    def watch(self, name: str, entry: str) -> tuple[Route, Entry | None]:
        """The route and entry of a request, made if there is room."""
        route = self.routes.get(name)
        if route is None:
            if len(self.routes) >= self.MOST_ROUTES - 1:
                name = self.REST
            route = self.routes.setdefault(name, Route())
        found = route.entries.get(entry)
        if found is None and (self._entries < self._most_entries or self._drop(_is_idle)):
            found = route.entries[entry] = Entry(entry)
            self._entries += 1
        return route, found

    def put(self, name: str, route: Route) -> None:
        """Know a route from before, if there is room for it."""
        named = {*self.routes, name} - {self.REST}
        if len(named) < self.MOST_ROUTES and self._entries + len(route.entries) <= self._most_entries:
            self.routes[name] = route
            self._entries += len(route.entries)

    def _drop(self, droppable: Callable[[Entry], bool]) -> bool:
        for route in self.routes.values():
            for name, entry in route.entries.items():
                if droppable(entry):
                    del route.entries[name]
                    self._entries -= 1
                    return True
        return False


def _is_idle(entry: Entry) -> bool:
    return entry.requests < 1.0
