"""Round-trip times."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge_smart.latency import KEPT, Latency


@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=KEPT // 2))
def test_probes_that_lie_are_outvoted(lies: list[float]) -> None:
    latency = Latency()
    for _ in range(KEPT):
        latency.add("a", "b", 20.0)
    for lie in lies:
        latency.add("a", "b", lie)

    assert latency.rtt("a", "b") == 20.0


@pytest.mark.parametrize("rtt", [-1.0, math.nan, math.inf, 1e6])
def test_what_cannot_be_true_is_left_out(rtt: float) -> None:
    latency = Latency()
    latency.add("a", "b", rtt)

    assert latency.rtt("a", "b") is None


def test_a_way_back_is_as_long_and_no_way_takes_no_time() -> None:
    latency = Latency()
    latency.add("a", "b", 20.0)

    assert (latency.rtt("b", "a"), latency.rtt("a", "a"), latency.rtt("a", "c")) == (20.0, 0.0, None)


def test_a_spread_needs_all_measurements() -> None:
    latency = Latency()
    latency.add("a", "host", 20.0)

    assert latency.spread("host", ["a", "b"]) is None

    latency.add("b", "host", 25.0)
    assert latency.spread("host", ["a", "b"]) == 5.0
