"""What is remembered of a route's calls."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge import BackEndCall
from kedge_smart.profile import MEMORY, MOST_WAITS, Profile

hosts = st.sampled_from(["a", "b", "c"])
invocations = st.lists(st.lists(st.lists(hosts, min_size=1, max_size=3), max_size=3), min_size=1, max_size=40)


@given(invocations)
def test_it_tells_how_often_an_invocation_waits_for_what(made: list[list[list[str]]]) -> None:
    profile = Profile()
    expected: defaultdict[tuple[tuple[str, int], ...], float] = defaultdict(float)
    fading = [(1 - 1 / MEMORY) ** (len(made) - number) for number in range(len(made))]
    for invocation, weight in zip(made, fading, strict=True):
        calls = [[BackEndCall(host=host, duration_ms=1.0) for host in group] for group in invocation]
        profile.add(calls, (0.0 for group in calls for _ in group))
        for group in invocation:
            expected[tuple(sorted({(host, 1) for host in group}))] += weight

    if len(expected) <= MOST_WAITS:
        total = sum(fading)
        assert profile.waits() == pytest.approx({wait: part / total for wait, part in expected.items()})


def test_it_goes_on_for_ever() -> None:
    profile = Profile()
    for _ in range(40_000):
        profile.add([[BackEndCall(host="a", duration_ms=7.0, rounds=2)]], [3.0])

    assert profile.waits() == {(("a", 2),): pytest.approx(1.0)}
    assert profile.work == {"a": pytest.approx(1.0)}


def test_old_calls_fade() -> None:
    profile = Profile()
    for host in ("old", "new"):
        for _ in range(5000):
            profile.add([[BackEndCall(host=host, duration_ms=1.0)]], [0.0])

    assert profile.waits()[("old", 1),] < 0.01


def test_one_call_and_a_little_more_are_told_apart() -> None:
    assert at_least(1.0) <= 1.0 < at_least(1.1)


def at_least(calls: float) -> float:
    """Of invocations of which half make two calls, and some one more: `calls` on average."""
    rng = Random(1)  # noqa: S311  (repeatable, not secret)
    profile = Profile()
    for _ in range(8000):
        made = 2 * (rng.random() < 0.5) + (rng.random() < calls - 1.0)
        profile.add([[BackEndCall(host="a", duration_ms=1.0)]] * made, [0.0] * made)
    return profile.calls[0]
