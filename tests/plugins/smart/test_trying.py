"""What is tried out as requests take longer at work than they used to, and what comes of it."""

from __future__ import annotations

import random
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from kedge import BackEndCall, PlacementExplanation, PlacementStatus, ServedRequest
from kedge_smart import SmartPlacement, SmartSettings
from kedge_smart.trial import AT_ONCE, LONGEST, MOST, WARMING, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES = ("sydney", "tokyo", "frankfurt")
#: two calls from Sydney are two short ways: nothing is gained elsewhere
WAYS = {
    ("sydney", "tokyo"): 20.0,
    ("sydney", "frankfurt"): 60.0,
    ("tokyo", "frankfurt"): 60.0,
    ("sydney", "db.example.com"): 5.0,
    ("tokyo", "db.example.com"): 20.0,
    ("frankfurt", "db.example.com"): 60.0,
}
STEP = 30.0


class Worker:
    """Asked by visitors in Sydney, on machines that are as slow as `work` says, in milliseconds."""

    def __init__(self, calls: int = 2, ways: Mapping[tuple[str, str], float] = WAYS) -> None:
        self.policy = SmartPlacement(SmartSettings())
        self.policy.set_locations(PLACES)
        for (source, target), rtt in ways.items():
            self.policy.measured(source, target, rtt)
        self.calls = calls
        self.ways = ways
        self.work: dict[str, float] = dict.fromkeys(PLACES, 50.0)
        self.now = 0.0
        random.seed(7)
        self._rng = Random(7)  # noqa: S311  (repeatable, not secret)

    def serve(self, minutes: int) -> Counter[str]:
        """Forty requests a minute; return where they ran."""
        ran: Counter[str] = Counter()
        for _ in range(int(minutes * 60 / STEP)):
            for _ in range(20):
                ran[self._request()] += 1
            self.now += STEP
            self.policy.review(self.now)
        return ran

    def explain(self) -> PlacementExplanation:
        (explanation,) = self.policy.explain("w")
        return explanation

    def _request(self) -> str:
        place = self.policy.choose("w", "/", "sydney").location
        way = self.ways[place, "db.example.com"]
        there = 0.0 if place == "sydney" else self.ways["sydney", place]
        took = (there + self.work[place] + self.calls * way) * self._rng.lognormvariate(0.0, 0.2)
        calls = [[BackEndCall(host="db.example.com", duration_ms=way)]] * self.calls
        self.policy.record(
            ServedRequest(
                worker="w", route="/", entry="sydney", location=place, duration_ms=took, calls=calls
            )
        )
        return place


@pytest.fixture
def worker() -> Worker:
    made = Worker()
    assert made.serve(60) == {"sydney": 2400}
    return made


def test_machines_that_become_slow_where_requests_come_in_are_left_for_quicker_ones(worker: Worker) -> None:
    worker.work["sydney"] = 400.0
    worker.serve(60)

    assert worker.explain().location == "tokyo"
    assert worker.explain().status is PlacementStatus.SUCCESS

    worker.work["sydney"] = 50.0
    worker.serve(120)
    assert worker.explain().location == "sydney"
    assert worker.explain().status is PlacementStatus.SUCCESS


def test_of_slow_machines_the_next_are_tried(worker: Worker) -> None:
    worker.work |= {"sydney": 400.0, "tokyo": 500.0}
    worker.serve(90)

    assert worker.explain().location == "frankfurt"


def test_what_is_slower_everywhere_stays_and_costs_few_requests(worker: Worker) -> None:
    worker.work = dict.fromkeys(PLACES, 400.0)
    ran = worker.serve(5 * 60)

    assert worker.explain().location == "sydney"
    assert 0 < ran["tokyo"] + ran["frankfurt"] <= 2 * (MOST + WARMING + AT_ONCE)
    assert worker.explain().tried == {}


def test_of_one_call_nothing_is_tried_however_long_it_takes() -> None:
    worker = Worker(calls=1)
    worker.serve(60)
    worker.work["sydney"] = 400.0

    assert worker.serve(90) == {"sydney": 3600}


def test_a_location_that_is_gone_is_tried_no_longer(worker: Worker) -> None:
    worker.work["sydney"] = 400.0
    while not worker.explain().tried:
        worker.serve(1)
    assert worker.explain().tried == {"tokyo": pytest.approx(0.2)}

    worker.policy.set_locations(["sydney", "frankfurt"])

    assert worker.explain().tried == {}
    assert worker.serve(1)["tokyo"] == 0


def test_slow_machines_where_requests_were_sent_are_left_though_hardly_any_stay_to_compare() -> None:
    far = {("sydney", "db.example.com"): 150.0, ("frankfurt", "db.example.com"): 140.0}
    worker = Worker(ways={**WAYS, **far, ("tokyo", "db.example.com"): 1.0})
    worker.serve(30)
    assert worker.explain().location == "tokyo"

    worker.work["tokyo"] = 900.0
    worker.serve(90)

    assert worker.explain().location == "sydney"
    assert worker.explain().status is PlacementStatus.UNSUPPORTED_APPLICATION


def test_a_trial_takes_a_fifth_of_the_requests_and_a_few_between_two_reviews() -> None:
    trial = Trial("tokyo", 0.0)

    assert sum(trial.takes() for _ in range(1000)) == AT_ONCE
    trial.go_on()
    assert sum(trial.takes() for _ in range(1000)) == AT_ONCE


@pytest.mark.parametrize("there", [50.0, 97.0, 200.0])
def test_a_trial_tells_what_is_faster_by_a_margin(there: float) -> None:
    trial, rng = Trial("tokyo", 0.0), Random(3)  # noqa: S311  (repeatable, not secret)
    for _ in range(MOST + WARMING):
        trial.record("sydney", 100.0 * rng.lognormvariate(0.0, 0.1), "sydney")
        trial.record("tokyo", there * rng.lognormvariate(0.0, 0.1), "sydney")
        trial.record("elsewhere", 1.0, "sydney")

    assert trial.is_faster(0.05, 60.0) is (there < 95.0)


def test_the_first_requests_of_a_trial_do_not_count_and_too_few_leave_it_open_for_an_hour() -> None:
    trial = Trial("tokyo", 0.0)
    for _ in range(WARMING):
        trial.record("tokyo", 5000.0, "sydney")

    assert trial.there.requests == 0
    assert trial.is_faster(0.05, LONGEST) is None
    assert trial.is_faster(0.05, LONGEST + 1) is False
