"""A thousand made-up worlds, in which the policy of smart placement decides where requests run."""

from __future__ import annotations

import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random
from statistics import mean

from bench.figures import Figure, p95
from kedge.testing.simulated_story import make_story
from kedge.testing.simulated_world import make_world
from kedge.testing.simulation import Simulation
from kedge_smart import SmartPlacement, SmartSettings

WORLDS = 1000
SECONDS = 12 * 3600.0
WARM_UP = 1200.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of half a day in one world."""

    seed: int
    story: str
    regret: float
    #: by how much requests took longer that were left where they came in
    unplaced: float
    #: of the route and entry that moved most
    moves: float
    misplaced: int
    lost: int


def measure() -> list[Figure]:
    """Regret against an oracle that knows every way, and moves under stationary noise."""
    return figures(simulate(range(WORLDS)))


def simulate(seeds: range) -> list[Outcome]:
    """Half a day in each world, side by side; nothing else on the machine has to wait for it."""
    with ProcessPoolExecutor(initializer=os.nice, initargs=(19,)) as pool:
        return list(pool.map(_simulate, seeds, chunksize=5))


def figures(outcomes: list[Outcome]) -> list[Figure]:
    """What is shown of them."""
    regrets = [one.regret for one in outcomes]
    still = [one.moves for one in outcomes if one.story == "stationary"]
    return [
        Figure(
            name=f"regret of smart placement in {len(outcomes)} simulated worlds, mean",
            value=mean(regrets) * 100,
            unit="%",
            target=2,
            baseline=mean(one.unplaced for one in outcomes) * 100,
            baseline_name="left where they come in",
        ),
        Figure(name="… p95", value=p95(regrets) * 100, unit="%"),
        Figure(name="… worst", value=max(regrets) * 100, unit="%", target=10),
        Figure(
            name="moves a day under stationary noise, mean over worlds", value=mean(still), unit="", target=2
        ),
        Figure(name="… worst world", value=max(still), unit="", target=2),
        Figure(
            name="routes of one call seen elsewhere",
            value=sum(one.misplaced for one in outcomes),
            unit="",
            target=0,
        ),
        Figure(
            name="requests sent to a location that was gone",
            value=sum(one.lost for one in outcomes),
            unit="",
            target=0,
        ),
    ]


def _simulate(seed: int) -> Outcome:
    rng = Random(seed)  # noqa: S311  (repeatable, not secret)
    random.seed(seed)
    world = make_world(rng)
    story = make_story(rng, world, SECONDS)
    simulation = Simulation(SmartPlacement(SmartSettings()), world, rng, rate=1.0)
    result = simulation.run(SECONDS, warm_up=WARM_UP, events=story.events)
    return Outcome(
        seed=seed,
        story=story.kind,
        regret=result.regret,
        unplaced=result.unplaced / result.best - 1.0 if result.best else 0.0,
        moves=result.moves_a_day,
        misplaced=result.misplaced,
        lost=result.lost,
    )
