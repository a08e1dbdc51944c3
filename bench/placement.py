"""A thousand made-up worlds, in which the policy of smart placement decides where requests run."""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from random import Random
from statistics import mean

from bench.figures import Figure, p95
from kedge.testing.simulated_world import make_world
from kedge.testing.simulation import Simulation
from kedge_smart import SmartPlacement, SmartSettings

WORLDS = 1000
SECONDS = 6 * 3600.0
WARM_UP = 1200.0


def measure() -> list[Figure]:
    """Regret against an oracle that knows every way, and moves under stationary noise."""
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(_simulate, range(WORLDS), chunksize=10))
    regrets = [regret for regret, _, _ in results]
    moves = [moved for _, moved, _ in results]
    return [
        Figure(
            name=f"regret of smart placement in {WORLDS} simulated worlds, mean",
            value=mean(regrets) * 100,
            unit="%",
            target=2,
            baseline=mean(unplaced for _, _, unplaced in results) * 100,
            baseline_name="left where they come in",
        ),
        Figure(name="… p95", value=p95(regrets) * 100, unit="%"),
        Figure(name="… worst", value=max(regrets) * 100, unit="%", target=10),
        Figure(name="… moves a day of a route, mean", value=mean(moves), unit="", target=2),
        Figure(name="… moves a day of a route, worst", value=max(moves), unit=""),
    ]


def _simulate(seed: int) -> tuple[float, float, float]:
    rng = Random(seed)  # noqa: S311  (repeatable, not secret)
    random.seed(seed)
    world = make_world(rng)
    result = Simulation(SmartPlacement(SmartSettings()), world, rng, rate=1.0).run(SECONDS, warm_up=WARM_UP)
    unplaced = result.unplaced / result.best - 1.0 if result.best else 0.0
    return result.regret, result.moves_a_day, unplaced
