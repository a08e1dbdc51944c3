"""Decides what is tried out, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge_smart.expecting import doubt_of, work_of
from kedge_smart.trial import LEAST
from kedge_smart.weighing import fastest

if TYPE_CHECKING:
    from kedge_smart.durations import Durations
    from kedge_smart.expecting import Weighing
    from kedge_smart.route import Entry
    from kedge_smart.settings import SmartSettings
    from kedge_smart.trial import Trial

#: requests have to take longer by this part of their time, before others are tried elsewhere
MUCH = 0.1


@dataclass(frozen=True, kw_only=True)
class Trying:
    """Looks after one entry: begins trials and ends them."""

    name: str
    entry: Entry
    weighing: Weighing
    settings: SmartSettings
    now: float

    def go_on(self) -> Trial | None:
        """Begin a trial if it is time for one; return one that was won: requests are faster there."""
        trial = self.entry.slowness.trial
        if trial is not None:
            return self._judge(trial)
        durations = self.entry.present(self.name)
        if durations is None or durations.requests < LEAST:
            return None
        work = self._work_of(durations)
        more = self.entry.slowness.learn(work, self.now)
        observed = durations.typical_ms or 0.0
        if more > max(self.settings.min_gain_ms, MUCH * observed) + doubt_of(durations):
            place = self._promising(observed, more)
            if place is None:
                self.entry.slowness.settle(work, self.now)
            else:
                self.entry.slowness.begin(place, self.now)
        return None

    def _promising(self, observed: float, more: float) -> str | None:
        """Where it would be fastest, if only the machines where it runs now are slower, by `more`."""
        entry = self.entry
        # what others are expected to take rests on what requests take where they come in
        less = more if entry.location == self.name else 0.0
        hoped = {
            location: expected - less
            for location, expected in self.weighing.expected.items()
            if location != entry.location
            and entry.slowness.may_try(location, self.now)
            and not entry.left_lately(location, self.now, self.settings.refine_seconds)
        }
        best = fastest(hoped, list(hoped))
        return best if best is not None and hoped[best] <= observed * (1.0 - self.settings.margin) else None

    def _judge(self, trial: Trial) -> Trial | None:
        faster = trial.is_faster(self.settings.margin, self.now)
        if faster is False:
            self._give_up(trial)
        return trial if faster else None

    def _give_up(self, trial: Trial) -> None:
        entry = self.entry
        if trial.stayed.requests >= LEAST:
            # what requests took before they took longer is no part of it any more
            entry.replace_present(self.name, trial.stayed)
        present = entry.present(self.name)
        there = work_of(trial.there, self.weighing.travel[trial.location])
        known = trial.there.requests >= LEAST
        work = self._work_of(present) if present else 0.0
        entry.slowness.fail(there if known else None, work, self.now)

    def _work_of(self, durations: Durations) -> float:
        entry = self.entry
        late = entry.slowness.late if entry.location == self.name else 0.0
        return max(work_of(durations, self.weighing.travel[entry.location]) - late, 0.0)
