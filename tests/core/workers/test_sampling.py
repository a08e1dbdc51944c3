"""Of few requests all are measured, of many some stand for the others."""

from __future__ import annotations

from kedge.workers.places.sampling import FIRST, MOST, TURN, Sampling


def test_of_few_requests_all_are_measured_and_of_many_some_stand_for_all() -> None:
    now = 100.0
    sampling = Sampling(lambda: now)
    few, many = 0, []
    for _ in range(10):
        few += sum(sampling.stands_for("few") for _ in range(3))
        many += [sampling.stands_for("many") for _ in range(500)]
        now += TURN
    assert few == 30
    assert sum(1 for one in many if one) <= FIRST + 10 * MOST
    # the last one that was left out is told with the next that is not
    now += TURN
    assert sum(many) + sampling.stands_for("many") == 5001
