"""A mean, and how far chance may have it off."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge_smart.mean import Mean

MEMORY = 100.0

values = st.lists(st.integers(0, 20), min_size=1, max_size=int(MEMORY))


def mean_of(taken: list[int], memory: float = MEMORY) -> Mean:
    mean = Mean(memory)
    for value in taken:
        mean.add(value)
    return mean


@given(values)
def test_few_values_all_count_alike(taken: list[int]) -> None:
    mean = mean_of(taken)

    assert mean.value == pytest.approx(fmean(taken))
    assert mean.square == pytest.approx(fmean(value * value for value in taken))
    assert mean.error == pytest.approx(math.sqrt(pvariance(taken) / len(taken)), abs=1e-9)


@given(values)
def test_it_goes_on_from_where_it_was(taken: list[int]) -> None:
    mean, again = mean_of(taken), Mean(MEMORY)
    again.resume(mean.count, mean.value, mean.square)

    for one in (mean, again):
        one.add(7)
    assert again.value == pytest.approx(mean.value)
    assert again.error == pytest.approx(mean.error, abs=1e-6)


def test_a_value_that_never_changes_is_known_for_certain() -> None:
    mean = mean_of([1] * 10_000)

    assert (mean.value, mean.error) == (1.0, 0.0)


def test_old_values_fade() -> None:
    mean = mean_of([0] * 1000 + [1] * 1000)

    assert mean.value == pytest.approx(1.0, abs=1e-4)


def test_the_error_is_how_far_off_means_are() -> None:
    rng = Random(1)  # noqa: S311  (repeatable, not secret)
    means = [mean_of([rng.choice([0, 2]) for _ in range(1000)], memory=50) for _ in range(400)]

    spread = math.sqrt(fmean((mean.value - 1.0) ** 2 for mean in means))
    assert fmean(mean.error for mean in means) == pytest.approx(spread, rel=0.15)
