"""How good smart placement is in a thousand made-up worlds."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from bench.figures import Figure, p95
from bench.placement_runs import run
from bench.simulated_worlds import WORLDS

if TYPE_CHECKING:
    from bench.simulated_worlds import Outcome


def measure() -> list[Figure]:
    """Regret against an oracle that knows every way, and moves under stationary noise."""
    return figures(run(range(WORLDS)))


def figures(outcomes: list[Outcome]) -> list[Figure]:
    """What is shown of them."""
    regrets = [one.regret for one in outcomes]
    # a day is a sum of many looks: what is left of rounding is no move
    still = [round(one.moves, 6) for one in outcomes if one.story == "stationary"]
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
