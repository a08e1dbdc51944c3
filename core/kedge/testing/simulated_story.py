"""What happens to a simulated world in the course of time: drift, failures, and what is meant to mislead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kedge.testing.simulation import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from kedge.testing.simulated_world import World

HOUR = 3600.0
#: how much every way changes in an hour, as the standard deviation of its logarithm
DRIFT = 0.05


@dataclass(frozen=True, kw_only=True)
class Story:
    """Events of one kind. In a stationary story there is noise, and nothing else."""

    kind: str
    events: tuple[Event, ...] = ()


def make_story(rng: Random, world: World, seconds: float) -> Story:
    """Every other story is stationary; the others are of the kinds below, each as likely."""
    if rng.random() < 0.5:
        return Story(kind="stationary")
    kind = rng.choice(list(KINDS))
    return Story(kind=kind, events=tuple(KINDS[kind](rng, world, seconds)))


def _drift(rng: Random, _: World, seconds: float) -> list[Event]:
    """Every way becomes longer or shorter, a little each hour."""

    def drift(world: World) -> None:
        for one, other in list(world.ways):
            factor = rng.lognormvariate(0.0, DRIFT)
            if (other, one) not in world.ways:
                world.ways[one, other] *= factor
            elif one < other:
                world.ways[one, other] = world.ways[other, one] = world.ways[one, other] * factor

    return [Event(at=hour * HOUR, change=drift, settled=0.0) for hour in range(1, int(seconds / HOUR))]


def _failures(rng: Random, world: World, seconds: float) -> list[Event]:
    """Locations fail, one after the other, and come back."""
    events = []
    for location in rng.sample(world.locations, min(3, len(world.locations) - 1)):
        at = rng.uniform(HOUR, seconds - 3 * HOUR)
        back = at + rng.uniform(600.0, 2 * HOUR)
        events.append(Event(at=at, change=partial(_fail, location), settled=900.0))
        events.append(Event(at=back, change=partial(_recover, location), settled=900.0))
    return events


def _fail(location: str, world: World) -> None:
    world.failed.add(location)


def _recover(location: str, world: World) -> None:
    world.failed.discard(location)


def _slow_machines(rng: Random, world: World, seconds: float) -> list[Event]:
    """Some locations compute slower from then on."""
    slow = {name: rng.uniform(2.0, 10.0) for name in world.locations if rng.random() < 0.25}

    def become_slow(world: World) -> None:
        world.slowness |= slow

    return [Event(at=rng.uniform(HOUR, seconds / 2), change=become_slow, settled=2 * HOUR)]


def _moved_back_end(rng: Random, world: World, seconds: float) -> list[Event]:
    """A back end moves to another location."""
    hosts = sorted({target for _, target in world.ways} - set(world.locations))
    host, near = rng.choice(hosts), rng.choice(world.locations)

    def move(world: World) -> None:
        for location in world.locations:
            world.ways[location, host] = 1.0 + world.way(location, near)

    return [Event(at=rng.uniform(HOUR, seconds / 2), change=move, settled=HOUR)]


def _liar(rng: Random, world: World, seconds: float) -> list[Event]:
    """A location claims to be next to everything."""
    liar = rng.choice(world.locations)

    def lie(world: World) -> None:
        world.liars.add(liar)

    return [Event(at=rng.uniform(HOUR, seconds / 2), change=lie, settled=HOUR)]


def _twins(rng: Random, world: World, _: float) -> list[Event]:
    """Locations that are as good as each other, so that noise alone would choose."""
    one, other = rng.sample(world.locations, 2)

    def become_twins(world: World) -> None:
        for source, target in list(world.ways):
            if source == one and target != other:
                world.ways[other, target] = world.ways[one, target] * rng.uniform(0.99, 1.01)
                if target in world.locations:
                    world.ways[target, other] = world.ways[other, target]

    return [Event(at=0.0, change=become_twins, settled=0.0)]


KINDS: dict[str, Callable[[Random, World, float], list[Event]]] = {
    "drift": _drift,
    "failures": _failures,
    "slow machines": _slow_machines,
    "a back end that moves": _moved_back_end,
    "a lying location": _liar,
    "twins": _twins,
}
