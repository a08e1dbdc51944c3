"""How long back ends are at work, from durations that scatter."""

from __future__ import annotations

from random import Random

import pytest

from kedge_smart.work import Work


def learn(way: float, at_work: float, *, scatter: float, calls: int = 2000) -> float:
    rng = Random(1)  # noqa: S311  (repeatable, not secret)
    work = Work()
    late = []
    for number in range(calls):
        work.add((way + at_work) * rng.lognormvariate(0.0, scatter), way)
        if number >= calls / 2:
            late.append(work.ms)
    return sum(late) / len(late)


@pytest.mark.parametrize("way", [1.0, 50.0, 400.0])
def test_what_is_beyond_the_way_is_found_however_long_the_way_is(way: float) -> None:
    assert learn(way, 100.0, scatter=0.05) == pytest.approx(100.0, abs=3.0)


def test_scatter_on_a_long_way_does_not_pass_for_work() -> None:
    assert learn(400.0, 10.0, scatter=0.4) < 25.0


def test_the_first_call_tells_all_of_it() -> None:
    work = Work()
    work.add(107.0, 7.0)

    assert work.ms == 100.0


def test_no_call_takes_less_than_its_way() -> None:
    work = Work()
    for _ in range(10):
        work.add(0.0, 7.0)

    assert work.ms == 0.0


def test_it_goes_on_from_what_was_known() -> None:
    work = Work(100.0)
    work.add(200.0, 0.0)

    assert 100.0 < work.ms < 101.0
