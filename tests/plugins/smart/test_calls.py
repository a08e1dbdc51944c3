"""Measurements, held against what calls take in truth."""

from __future__ import annotations

from kedge_smart.latency import Latency

LIAR, HONEST, DATABASE = "liar", "honest", "db.example.com"
WORK = 8.0


def measured(**ways: float) -> Latency:
    latency = Latency()
    for location, way in ways.items():
        latency.add(location, DATABASE, way)
    return latency


def call(latency: Latency, location: str, way: float, *, times: int = 30, work: float = WORK) -> None:
    for _ in range(times):
        latency.called(location, DATABASE, 2 * way + work, rounds=2)


def test_a_way_that_calls_contradict_is_as_long_as_they_tell() -> None:
    latency = measured(liar=0.1, honest=40.0)
    call(latency, LIAR, 150.0)
    call(latency, HONEST, 40.0)
    latency.add(LIAR, DATABASE, 0.1)

    assert latency.rtt(LIAR, DATABASE) == 150.0
    assert latency.rtt(HONEST, DATABASE) == 40.0


def test_a_few_calls_contradict_nothing() -> None:
    latency = measured(liar=0.1, honest=40.0)
    call(latency, LIAR, 150.0, times=10)
    call(latency, HONEST, 40.0)
    latency.add(LIAR, DATABASE, 0.1)

    assert latency.rtt(LIAR, DATABASE) == 0.1


def test_a_back_end_that_is_slow_for_everybody_is_no_further_away() -> None:
    latency = measured(liar=20.0, honest=40.0)
    call(latency, LIAR, 20.0, work=900.0)
    call(latency, HONEST, 40.0, work=900.0)
    latency.add(LIAR, DATABASE, 20.0)

    assert latency.rtt(LIAR, DATABASE) == 20.0


def test_a_back_end_that_one_location_alone_calls_is_taken_to_be_slow() -> None:
    latency = measured(liar=20.0, honest=40.0)
    call(latency, LIAR, 20.0, work=900.0)
    latency.add(LIAR, DATABASE, 20.0)

    assert latency.rtt(LIAR, DATABASE) == 20.0


def test_between_two_locations_the_longer_measurement_counts() -> None:
    latency = Latency()
    latency.add(LIAR, HONEST, 0.1)
    latency.add(HONEST, LIAR, 150.0)

    assert latency.rtt(LIAR, HONEST) == latency.rtt(HONEST, LIAR) == 150.0
