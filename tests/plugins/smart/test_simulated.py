"""The policy in simulated worlds: how far from the best place requests run, and how often they move."""

from __future__ import annotations

import random
from functools import cache
from random import Random
from statistics import mean

import pytest

from kedge.testing.simulated_story import KINDS
from kedge.testing.simulated_world import World, make_world
from kedge.testing.simulation import WORKER, Event, Result, Simulation
from kedge_smart import SmartPlacement, SmartSettings

HOUR = 3600.0
SEEDS = range(8)
#: one policy for all locations that requests come in at
SETTINGS = SmartSettings(most_entries=32)


def simulate(
    seed: int, *events: Event, world: World | None = None, warm_up: float = 1200.0, hours: float = 3.0
) -> Result:
    rng = Random(seed)  # noqa: S311  (repeatable, not secret)
    random.seed(seed)
    made = make_world(rng)
    simulation = Simulation(SmartPlacement(SETTINGS), world or made, rng, rate=1.0)
    return simulation.run(hours * HOUR, warm_up=warm_up, events=events)


@cache
def undisturbed() -> list[Result]:
    return [simulate(seed) for seed in SEEDS]


def test_requests_run_next_to_where_they_are_fastest() -> None:
    results = undisturbed()

    assert mean(result.regret for result in results) <= 0.02
    assert max(result.regret for result in results) <= 0.10
    assert mean(result.unplaced / result.best for result in results) > 1.3


def test_noise_alone_moves_nothing() -> None:
    assert sum(sum(result.moves.values()) for result in undisturbed()) <= len(SEEDS) / 3


def test_noise_on_long_ways_passes_for_no_gain() -> None:
    """Two locations are nearly as good as each other, and durations scatter by 39 %."""
    results = [simulate(seed, hours=10) for seed in (403, 873)]

    assert max(max(result.moves.values(), default=0) for result in results) <= 1
    assert max(result.regret for result in results) <= 0.005


def test_slow_machines_are_found_out() -> None:
    def slow(seed: int) -> World:
        rng = Random(seed)  # noqa: S311  (repeatable, not secret)
        world = make_world(rng)
        world.slowness = {name: rng.uniform(2.0, 10.0) for name in world.locations[::4]}
        return world

    results = [simulate(seed, world=slow(seed), warm_up=2 * HOUR) for seed in SEEDS]

    assert mean(result.regret for result in results) <= 0.02


def test_machines_that_become_slow_where_requests_come_in_are_left() -> None:
    def become_slow(world: World) -> None:
        world.slowness |= dict.fromkeys(world.visitors, 6.0)

    results = [simulate(seed, Event(at=HOUR, change=become_slow, settled=HOUR)) for seed in SEEDS[:4]]

    assert mean(result.regret for result in results) <= 0.03


def test_a_back_end_that_moves_is_followed() -> None:
    def move(world: World) -> None:
        host = world.routes[0].stages[0].calls[0].host if world.routes[0].stages else "api0.example.com"
        for location in world.locations:
            world.ways[location, host] = 1.0 + world.way(location, world.locations[-1])

    results = [simulate(seed, Event(at=HOUR, change=move, settled=1800.0)) for seed in SEEDS]

    assert mean(result.regret for result in results) <= 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_a_location_that_fails_is_left_at_once(seed: int) -> None:
    rng = Random(seed)  # noqa: S311  (repeatable, not secret)
    random.seed(seed)
    world, policy = make_world(rng), SmartPlacement(SETTINGS)
    simulation = Simulation(policy, world, rng, rate=1.0)
    simulation.run(HOUR, warm_up=0.0)
    used = [explanation.location for explanation in policy.explain(WORKER)]

    world.failed.add(max(set(used), key=used.count))
    policy.set_locations(world.alive)
    result = simulation.run(HOUR, warm_up=600.0)

    assert result.lost == 0
    assert result.regret <= 0.10


def test_a_location_that_claims_to_be_next_to_everything_is_found_out() -> None:
    def lie(world: World) -> None:
        world.liars.add(world.locations[0])

    results = [simulate(seed, Event(at=HOUR, change=lie, settled=HOUR)) for seed in SEEDS[:4]]

    assert mean(result.regret for result in results) <= 0.03
    assert mean(result.unplaced / result.best for result in results) > 1.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_of_one_call_stays_near_its_visitor_whatever_happens(kind: str) -> None:
    rng = Random(1)  # noqa: S311  (repeatable, not secret)
    world = make_world(rng)
    events = KINDS[kind](rng, world, 3 * HOUR + 1)

    assert simulate(1, *events, world=world).misplaced == 0
