"""What outlives a restart, and how much of it there can be."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge import BackEndCall, InvalidInput, ServedRequest
from kedge_smart import SmartPlacement, SmartSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

LETTERS = "abcxyz0159-.é"


def made_up(rng: Random) -> ServedRequest:
    """A request that calls whom it likes, by names of any length."""
    hosts = ["".join(rng.choices(LETTERS, k=rng.randint(1, 253))) for _ in range(rng.randint(1, 12))]
    calls = [
        [
            BackEndCall(
                host=rng.choice(hosts),
                duration_ms=rng.uniform(0, 1e6),
                rounds=rng.randint(1, 9),
                awaited=rng.random() < 0.8,
            )
            for _ in range(rng.randint(1, 9))
        ]
        for _ in range(rng.randint(0, 9))
    ]
    return ServedRequest(
        worker="w",
        route="/" + "".join(rng.choices(LETTERS, k=rng.randint(0, 120))),
        entry=rng.choice(["sydney", "dallas", "frankfurt"]),
        location=rng.choice(["sydney", "dallas", "frankfurt"]),
        duration_ms=rng.uniform(0.1, 1e6),
        calls=calls,
    )


def learnt(requests: Sequence[ServedRequest]) -> SmartPlacement:
    policy = policy_of()
    for request in requests:
        policy.record(request)
    return policy


def policy_of() -> SmartPlacement:
    policy = SmartPlacement(SmartSettings(min_invocations=10))
    policy.set_locations(["sydney", "frankfurt"])
    for (source, target), rtt in {
        ("sydney", "frankfurt"): 250.0,
        ("sydney", "db.test:1"): 250.0,
        ("frankfurt", "db.test:1"): 1.0,
    }.items():
        policy.measured(source, target, rtt)
    return policy


def placed() -> SmartPlacement:
    policy = policy_of()
    calls = [[BackEndCall(host="db.test:1", duration_ms=251.0)]] * 3
    for _ in range(100):
        policy.record(
            ServedRequest(
                worker="w", route="/", entry="sydney", location="sydney", duration_ms=760.0, calls=calls
            )
        )
    policy.review(5.0)
    return policy


def plain(state: Any) -> Any:
    """As it comes back from a database."""
    return orjson.loads(orjson.dumps(state))


def test_a_decision_is_known_again_before_anybody_has_asked() -> None:
    before, after = placed(), policy_of()

    after.load("w", plain(before.dump("w")), now=1000.0, age=60.0)

    assert after.choose("w", "/", "sydney").location in {"frankfurt", "sydney"}
    (known,) = after.explain("w")
    (was,) = before.explain("w")
    assert (known.location, known.status, known.reason) == (was.location, was.status, was.reason)
    assert known.invocations == was.invocations
    assert known.rounds == pytest.approx(was.rounds)
    expected = {one.location: one.expected_ms for one in was.candidates}
    assert {one.location: one.expected_ms for one in known.candidates} == pytest.approx(expected, rel=0.01)
    assert after.review(1002.0) == []


@pytest.mark.parametrize("age", [-1.0, 8 * 24 * 3600.0])
def test_what_cannot_be_or_is_a_week_old_is_not_taken_up(age: float) -> None:
    after = policy_of()
    after.load("w", plain(placed().dump("w")), now=0.0, age=age)

    assert after.explain("w") == []


def test_what_is_known_already_stays() -> None:
    after = placed()
    after.load("w", {"routes": {}}, now=0.0, age=0.0)

    assert len(after.explain("w")) == 1


@pytest.mark.parametrize("state", [{}, {"routes": 3}, {"routes": {"/": {}}}, {"version": 2}])
def test_what_another_policy_wrote_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="mistakes"):
        policy_of().load("w", state, now=0.0, age=0.0)


def test_of_a_worker_that_nobody_asked_for_nothing_is_kept() -> None:
    assert policy_of().dump("w") is None


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 300))
def test_whatever_a_worker_does_its_state_is_at_most_64_kib_and_can_be_read(seed: int, requests: int) -> None:
    rng = Random(seed)  # noqa: S311  (made-up requests)
    policy = learnt([made_up(rng) for _ in range(requests)])
    state = policy.dump("w")

    assert len(orjson.dumps(state)) <= 64 * 1024
    again = policy_of()
    again.load("w", plain(state), now=0.0, age=0.0)
    assert plain(again.dump("w"))["routes"].keys() == plain(state)["routes"].keys()


def test_of_too_much_the_busiest_routes_are_kept() -> None:
    policy = policy_of()
    for route in range(10):
        for number in range(8 * (route + 1)):
            hosts = [f"{route}-{number % 8}-{one}" * 20 for one in range(8)]
            policy.record(
                ServedRequest(
                    worker="w",
                    route=f"/{route}",
                    entry="sydney",
                    location="sydney",
                    duration_ms=1.0,
                    calls=[[BackEndCall(host=host, duration_ms=1.0) for host in hosts]],
                )
            )

    state = policy.dump("w")
    assert state is not None
    assert "/9" in state["routes"]
    assert "/0" not in state["routes"]
    assert 32 * 1024 < len(orjson.dumps(state)) <= 64 * 1024
