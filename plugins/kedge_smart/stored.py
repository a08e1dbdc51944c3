"""What is known of a worker, in a form that outlives a restart. Moments are ages: clocks begin anew."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, NonNegativeInt

from kedge import PlacementStatus
from kedge_smart.damping import Damping
from kedge_smart.durations import Durations
from kedge_smart.profile import Profile
from kedge_smart.route import Entry, Route, Routes
from kedge_smart.slowness import Slowness

#: bytes of JSON that a worker may take; the routes with the fewest invocations are left out first
MOST_BYTES = 64 * 1024

Age = NonNegativeFloat
Sums = tuple[NonNegativeFloat, FiniteFloat, NonNegativeFloat]
Text = Annotated[str, Field(max_length=1000)]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredProfile(_Stored):
    """Of `Profile`; weights are shares of an invocation."""

    invocations: NonNegativeInt
    calls: FiniteFloat
    squares: NonNegativeFloat
    waits: list[tuple[list[tuple[Text, NonNegativeInt]], NonNegativeFloat]]
    work: dict[Text, NonNegativeFloat]
    ignored: list[Text]

    @classmethod
    def of(cls, profile: Profile) -> StoredProfile:
        """What is to be kept."""
        calls, squares = profile.means()
        return cls(
            invocations=profile.invocations,
            calls=calls,
            squares=squares,
            waits=[(list(wait), often) for wait, often in profile.waits().items()],
            work=profile.work,
            ignored=sorted(profile.ignored),
        )

    def again(self) -> Profile:
        """The profile that it was."""
        profile = Profile()
        waits = {tuple((host, rounds) for host, rounds in wait): often for wait, often in self.waits}
        profile.resume(self.invocations, self.calls, self.squares, waits, self.work)
        profile.ignored = set(self.ignored)
        return profile


class StoredEntry(_Stored):
    """Of `Entry`."""

    location: Text
    status: PlacementStatus
    reason: Text
    baseline: Sums
    here: Sums | None
    decided: Age | None
    moved: Age | None
    surprises: dict[Text, tuple[FiniteFloat, Age]]
    usual: NonNegativeFloat | None = None
    late: NonNegativeFloat = 0.0
    moves: NonNegativeFloat = 0.0

    @classmethod
    def of(cls, entry: Entry, now: float) -> StoredEntry:
        """What is to be kept."""
        return cls(
            location=entry.location,
            status=entry.status,
            reason=entry.reason[:1000],
            baseline=entry.baseline.sums,
            here=None if entry.here is None else entry.here.sums,
            decided=_age(entry.decided_on, now),
            moved=_age(entry.moved_on, now),
            surprises={
                location: (late, max(now - on, 0.0))
                for location, (late, on) in (entry.surprises or {}).items()
            },
            usual=entry.slowness.usual,
            late=entry.slowness.late,
            moves=entry.damping.moves(now),
        )

    def again(self, name: str, now: float) -> Entry:
        """The entry that it was; durations of before are gone with the day."""
        entry = Entry(name)
        entry.location, entry.status, entry.reason = self.location, self.status, self.reason
        entry.baseline = Durations(self.baseline)
        if self.location != name:
            entry.here = Durations(self.here or (0.0, 0.0, 0.0))
        entry.decided_on = None if self.decided is None else now - self.decided
        entry.moved_on = None if self.moved is None else now - self.moved
        entry.surprises = {place: (late, now - age) for place, (late, age) in self.surprises.items()} or None
        entry.slowness = Slowness(self.usual, self.late)
        entry.damping = Damping(self.moves, now)
        return entry


class StoredRoute(_Stored):
    """Of `Route`."""

    profile: StoredProfile
    entries: dict[Text, StoredEntry]


class StoredWorker(_Stored):
    """Of `Routes`."""

    routes: dict[Text, StoredRoute]

    def again(self, most_entries: int, now: float) -> Routes:
        """The routes that they were, as far as there is room."""
        routes = Routes(most_entries)
        for name, stored in self.routes.items():
            route = Route()
            route.profile = stored.profile.again()
            for entry, of in stored.entries.items():
                route.entries[entry] = of.again(entry, now)
            routes.put(name, route)
        return routes


def dump(routes: Routes, now: float) -> dict[str, Any]:
    """JSON values of at most `MOST_BYTES`."""
    kept: dict[str, Any] = {}
    room = MOST_BYTES - len('{"routes":{}}')
    busiest = sorted(routes.routes.items(), key=lambda item: -item[1].profile.invocations)
    for name, route in busiest:
        entries = {entry: StoredEntry.of(known, now) for entry, known in route.entries.items()}
        stored = StoredRoute(profile=StoredProfile.of(route.profile), entries=entries)
        # what stands around it: quotes, a colon, a comma
        room -= len(stored.model_dump_json().encode()) + len(name.encode()) + 8
        if room >= 0:
            kept[name] = stored.model_dump(mode="json")
    return {"routes": kept}


def _age(moment: float | None, now: float) -> float | None:
    return None if moment is None else max(now - moment, 0.0)
