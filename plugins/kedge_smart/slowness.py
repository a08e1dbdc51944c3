"""Machines that became slow where requests run, which no measured way tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge_smart.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Collection

#: seconds in which what is usual comes half as near to what is so lately: if that is more, and if it is less
SLOWLY, QUICKLY = 12 * 3600.0, 1800.0
#: other locations that are tried, before requests are taken to be slow everywhere
TRIES = 4
#: seconds without a trial after that
REST = 6 * 3600.0


class Slowness:
    """Of one entry: what requests take at work usually, and where else they were tried as they took longer.

    If they take longer all at once, either what they do takes longer, and so everywhere; or the machines are
    slow where they run, and others are not. Only trying tells, first where it would be fastest if it were the
    machines.
    """

    __slots__ = ("_learnt_on", "_rests_until", "in_vain", "late", "trial", "usual")

    def __init__(self, usual: float | None = None, late: float = 0.0) -> None:
        """As it was before a restart, or of an entry of which nothing is known."""
        #: milliseconds at work that are usual where requests run now
        self.usual = usual
        #: milliseconds at work that only the machines of the entry take: known after a trial elsewhere
        self.late = late
        self.trial: Trial | None = None
        #: location that was tried → milliseconds at work there, if enough requests tell
        self.in_vain: dict[str, float | None] | None = None
        self._learnt_on: float | None = None
        self._rests_until: float | None = None

    def learn(self, work: float, now: float) -> float:
        """Requests took so many milliseconds at work lately; return by how much that is more than usual."""
        seconds = 0.0 if self._learnt_on is None else max(now - self._learnt_on, 0.0)
        self._learnt_on = now
        if self.usual is None:
            self.usual = work
        half = QUICKLY if work < self.usual else SLOWLY
        self.usual += (work - self.usual) * (1.0 - 0.5 ** (seconds / half))
        return work - self.usual

    def may_try(self, location: str, now: float) -> bool:
        """Whether it is time for a trial there."""
        rests = self._rests_until is not None and now < self._rests_until
        return self.trial is None and not rests and location not in (self.in_vain or ())

    def begin(self, location: str, now: float) -> None:
        """Try a location out."""
        self.trial = Trial(location, now)

    def keep_to(self, alive: Collection[str]) -> None:
        """End a trial at a location that is gone."""
        if self.trial is not None and self.trial.location not in alive:
            self.trial = None

    def fail(self, there: float | None, work: float, now: float) -> None:
        """Where it was tried a request is `there` milliseconds at work, and no faster than here.

        After some such trials, requests take `work` everywhere.
        """
        if self.trial is not None:
            self.in_vain = (self.in_vain or {}) | {self.trial.location: there}
            self.trial = None
        if len(self.in_vain or ()) >= TRIES:
            self.settle(work, now)

    def settle(self, work: float, now: float) -> None:
        """Nothing else is left to try: take it for usual."""
        if self.in_vain:
            self.usual = work
            self.in_vain = None
            self._rests_until = now + REST

    def begin_anew(self) -> None:
        """Requests run at another location from now on."""
        self.trial = None
        self.usual = None
        self.in_vain = None
