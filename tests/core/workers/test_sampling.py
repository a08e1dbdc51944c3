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
    # those that were left out last are told with the next ones that are not
    now += TURN
    assert sum(many) + sum(sampling.stands_for("many") for _ in range(MOST)) == 5000 + MOST


def test_none_outweighs_the_others_that_are_measured_in_its_turn() -> None:
    now = 100.0
    sampling = Sampling(lambda: now)
    for _ in range(FIRST + 10_000):
        sampling.stands_for("busy")
    now += TURN

    told = [sampling.stands_for("busy") for _ in range(MOST)]

    assert sum(told) == 10_000
    assert max(told) - min(told) <= 1
