"""A thousand made-up worlds, in which the policy of smart placement decides where requests run."""

from __future__ import annotations

import random
from dataclasses import dataclass
from random import Random

from kedge.testing.simulated_story import make_story
from kedge.testing.simulated_world import make_world
from kedge.testing.simulation import Simulation
from kedge_smart import SmartPlacement, SmartSettings

WORLDS = 1000
#: one policy decides for up to eight locations that requests come in at, and four routes
SETTINGS = SmartSettings(most_entries=32)
SECONDS = 12 * 3600.0
WARM_UP = 1200.0
#: where nothing happens moves are counted for a whole day, rather than reckoned from half a one
STATIONARY_SECONDS = 24 * 3600.0 + WARM_UP


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one world."""

    seed: int
    story: str
    regret: float
    #: by how much requests took longer that were left where they came in
    unplaced: float
    #: of the route and entry that moved most
    moves: float
    misplaced: int
    lost: int


def simulate_world(seed: int) -> Outcome:
    """Half a day in the world of a seed; a whole one if nothing happens in it."""
    rng = Random(seed)  # noqa: S311  (repeatable, not secret)
    random.seed(seed)
    world = make_world(rng)
    story = make_story(rng, world, SECONDS)
    simulation = Simulation(SmartPlacement(SETTINGS), world, rng, rate=1.0)
    seconds = SECONDS if story.events else STATIONARY_SECONDS
    result = simulation.run(seconds, warm_up=WARM_UP, events=story.events)
    return Outcome(
        seed=seed,
        story=story.kind,
        regret=result.regret,
        unplaced=result.unplaced / result.best - 1.0 if result.best else 0.0,
        moves=result.moves_a_day,
        misplaced=result.misplaced,
        lost=result.lost,
    )
