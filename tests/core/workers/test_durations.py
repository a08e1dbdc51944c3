"""Sketches of durations: right, mergeable, and small whatever happens."""

from __future__ import annotations

import pickle

from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.cli.placement import draw
from kedge.workers.places.durations import Durations, Series

HERE = Series("/", "sydney", placed=False)
THERE = Series("/", "frankfurt", placed=True)


def test_what_was_recorded_is_shown_by_series_and_together() -> None:
    durations = Durations()
    for milliseconds in range(1, 1001):
        durations.record("w", HERE, float(milliseconds))
        durations.record("w", THERE, milliseconds / 10)
    shown = {(one["route"], one["placed"]): one for one in durations.show("w")}

    assert {one["requests"] for one in shown.values()} == {1000}
    for route in ("*", "/"):
        assert 450 < shown[route, False]["quantiles_ms"]["p50"] < 550
        assert 45 < shown[route, True]["quantiles_ms"]["p50"] < 55
    histogram = shown["*", False]["histogram"]
    assert abs(sum(bar["share"] for bar in histogram) - 1) < 0.02
    assert any("█" in line for line in draw(histogram))
    durations.forget("w")
    assert durations.show("w") == []


def test_of_requests_that_stand_for_others_it_is_told_how_many_were_measured() -> None:
    durations = Durations()
    durations.record("w", HERE, 10.0, stands_for=99)
    durations.record("w", HERE, 90.0)

    every, here = durations.show("w")
    for one in (every, here):
        assert (one["requests"], one["measured"]) == (100, 2)
        assert one["quantiles_ms"]["p95"] < 11


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=20), st.sampled_from("abcdef"), st.booleans(), st.floats(0, 1e7)),
        max_size=500,
    )
)
def test_a_workers_state_is_bounded(seen: list[tuple[str, str, bool, float]]) -> None:
    durations = Durations()
    for route, location, placed, milliseconds in seen:
        durations.record("w", Series(route, location, placed), milliseconds)
    for number in range(300):
        durations.record("w", Series(f"/route-{number}", "a", placed=True), 1.5 ** (number % 40))

    assert sum(one["requests"] for one in durations.show("w") if one["route"] != "*") == len(seen) + 300
    bins = [sketch.durations._store.bins for sketch in durations._workers.get("w").sketches.values()]  # type: ignore[union-attr]
    assert len(bins) <= 48 + 12
    assert len(pickle.dumps(bins)) < 64 * 1024
