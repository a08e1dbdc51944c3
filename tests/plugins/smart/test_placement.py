"""What the policy decides, and what it says of it."""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kedge import BackEndCall, PlacementStatus, RequestPlacement, ServedRequest
from kedge_smart import SmartPlacement, SmartSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

WAYS = {
    ("sydney", "frankfurt"): 250.0,
    ("sydney", "dallas"): 180.0,
    ("dallas", "frankfurt"): 120.0,
    ("sydney", "db.example.com"): 252.0,
    ("dallas", "db.example.com"): 118.0,
    ("frankfurt", "db.example.com"): 1.0,
}


@pytest.fixture
def policy() -> SmartPlacement:
    made = SmartPlacement(SmartSettings())
    made.set_locations(["sydney", "frankfurt", "dallas"])
    for (source, target), rtt in WAYS.items():
        made.measured(source, target, rtt)
    return made


def calls(*hosts: str, where: str = "sydney", awaited: bool = True) -> list[list[BackEndCall]]:
    return [
        [BackEndCall(host=host, duration_ms=WAYS.get((where, host), 5.0) + 1.0, awaited=awaited)]
        for host in hosts
    ]


def serve(
    policy: SmartPlacement, made: Sequence[Sequence[BackEndCall]], *, count: int = 100, took: float = 760.0
) -> None:
    for _ in range(count):
        policy.record(
            ServedRequest(
                worker="w", route="/", entry="sydney", location="sydney", duration_ms=took, calls=made
            )
        )


def test_it_is_a_policy() -> None:
    assert isinstance(SmartPlacement(SmartSettings()), RequestPlacement)


def test_three_round_trips_to_a_far_back_end_move_the_worker_there(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3))

    (changed,) = policy.review(10.0)

    assert (changed.location, changed.status) == ("frankfurt", PlacementStatus.SUCCESS)
    assert changed.rounds == {"db.example.com": pytest.approx(3.0)}
    assert [weighed.location for weighed in changed.candidates] == ["frankfurt", "dallas", "sydney"]
    expected = {weighed.location: weighed.expected_ms for weighed in changed.candidates}
    assert expected["frankfurt"] == pytest.approx(760 - 3 * 252 + 3 + 250, abs=1)
    chosen = Counter(policy.choose("w", "/", "sydney").location for _ in range(10_000))
    assert chosen["frankfurt"] > 9_800
    assert chosen["sydney"] > 30


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([], "near its visitor"),
        (calls("db.example.com"), "near its visitor"),
        (calls(*["intake.datadoghq.com"] * 3), "no location is faster"),
        (calls("db.example.com", "db.example.com", "db.example.com", awaited=False), "near its visitor"),
    ],
)
def test_what_gains_nothing_stays_near_its_visitor(
    policy: SmartPlacement, made: list[list[BackEndCall]], reason: str
) -> None:
    policy.measured("sydney", "intake.datadoghq.com", 300.0)
    policy.measured("frankfurt", "intake.datadoghq.com", 1.0)
    policy.measured("dallas", "intake.datadoghq.com", 100.0)
    serve(policy, made)

    policy.review(10.0)

    (explanation,) = policy.explain("w")
    assert explanation.location == "sydney"
    assert reason in explanation.reason


def test_too_little_traffic_decides_nothing(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3), count=99)

    assert policy.review(10.0) == []
    assert policy.explain("w")[0].status is PlacementStatus.INSUFFICIENT_INVOCATIONS


def test_a_service_that_is_near_to_everybody_does_not_count(policy: SmartPlacement) -> None:
    for location in ("sydney", "frankfurt", "dallas"):
        policy.measured(location, "cdn.example.com", 4.0)
    serve(policy, calls(*["cdn.example.com"] * 3))

    policy.review(10.0)

    (explanation,) = policy.explain("w")
    assert explanation.location == "sydney"
    assert explanation.excluded == {"cdn.example.com": "as near to every location (within 0 ms)"}


def test_a_way_that_was_not_measured_is_not_guessed(policy: SmartPlacement) -> None:
    serve(policy, calls(*["new.example.com"] * 3))

    policy.review(10.0)

    (explanation,) = policy.explain("w")
    assert explanation.reason == "not all ways are measured yet"
    assert {weighed.refused for weighed in explanation.candidates} == {
        "the way to new.example.com was not measured"
    }


def test_of_two_back_ends_both_count(policy: SmartPlacement) -> None:
    for location, rtt in {"sydney": 180.0, "frankfurt": 120.0, "dallas": 1.0}.items():
        policy.measured(location, "cache.example.com", rtt)
    serve(policy, calls(*["db.example.com"] * 2, *["cache.example.com"] * 3))

    (changed,) = policy.review(10.0)

    assert changed.location == "dallas"


def test_the_same_call_twice_side_by_side_is_more_than_one(policy: SmartPlacement) -> None:
    call = BackEndCall(host="db.example.com", duration_ms=760.0, rounds=3)
    serve(policy, [[call, call]])

    (changed,) = policy.review(10.0)

    assert changed.location == "frankfurt"


def test_a_placement_that_measures_slower_is_taken_back_for_good(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3))
    policy.review(10.0)
    for minute in range(1, 120):
        for number in range(60):
            for location in {policy.explain("w")[0].location, "sydney"}:
                policy.record(
                    ServedRequest(
                        worker="w",
                        route="/",
                        entry="sydney",
                        location=location,
                        duration_ms=(760.0 if location == "sydney" else 900.0) + number % 7,
                        calls=calls(*["db.example.com"] * 3, where=location),
                    )
                )
        policy.review(10.0 + minute * 60)

    (explanation,) = policy.explain("w")
    assert explanation.status is PlacementStatus.UNSUPPORTED_APPLICATION
    assert explanation.location == "sydney"

    policy.forget("w")
    assert policy.explain("w") == []


def test_a_location_that_is_gone_gets_no_more_requests(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3))
    policy.review(10.0)

    policy.set_locations(["sydney", "dallas"])

    assert policy.choose("w", "/", "sydney").location == "sydney"
    policy.review(20.0)
    assert policy.explain("w")[0].location == "dallas"


def test_routes_are_placed_each_by_itself(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3))
    for _ in range(100):
        policy.record(
            ServedRequest(worker="w", route="/ping", entry="sydney", location="sydney", duration_ms=2.0)
        )

    policy.review(10.0)

    assert {found.route: found.location for found in policy.explain("w")} == {
        "/": "frankfurt",
        "/ping": "sydney",
    }


def test_the_state_of_a_worker_is_bounded_whatever_it_calls_and_wherever_it_ran() -> None:
    policy = SmartPlacement(SmartSettings(min_invocations=10))
    places = [f"a-location-with-a-name-{number}" for number in range(40)]
    policy.set_locations(places)
    for number in range(4000):
        policy.record(crowded(number, places))

    entries = [
        (name, entry)
        for route in policy._workers["w"].routes.values()
        for name, entry in route.entries.items()
    ]
    assert len(entries) == 12
    for name, entry in entries:
        for place in places:
            entry.move(name, place, 1234.5, 6789.0)
        for place in places[:3]:
            entry.slowness.begin(place, 1.0)
            entry.slowness.fail(1234.5, 6789.0, 1.0)
        entry.slowness.begin(places[3], 1.0)
    assert size_of(policy._workers["w"]) <= 64 * 1024


def crowded(number: int, places: list[str]) -> ServedRequest:
    """One of 40 routes that comes in at one of 40 locations, and asks four of twelve back ends."""
    route, entry = f"/a/route/of/some/length/{number % 40}", places[hash_of(number) % 40]
    return ServedRequest(
        worker="w",
        route=route,
        entry=entry,
        location=entry,
        duration_ms=10.0 + hash_of(number) % 1000,
        calls=[
            [BackEndCall(host=f"host-{hash_of(number, call) % 12}.example.com", duration_ms=5.0)]
            for call in range(4)
        ],
    )


def hash_of(*values: object) -> int:
    return zlib.crc32(repr(values).encode())


def size_of(value: Any, seen: set[int] | None = None) -> int:
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (type, type(PlacementStatus.SUCCESS))):
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(size_of(key, seen) + size_of(inner, seen) for key, inner in value.items())
    if isinstance(value, (list, tuple, set)):
        return size + sum(size_of(inner, seen) for inner in value)
    names = [*getattr(value, "__dict__", {}), *getattr(type(value), "__slots__", ())]
    return size + sum(size_of(getattr(value, name), seen) for name in names)


def test_a_clock_that_jumps_moves_nothing(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3))
    policy.review(10.0)

    for now in (-1e6, 1e9, 5.0, 2e9):
        assert policy.review(now) == []
        (found,) = policy.explain("w")
        assert found.location == "frankfurt"


def test_what_left_for_a_lie_goes_back_as_soon_as_it_is_found_out(policy: SmartPlacement) -> None:
    policy.measured("frankfurt", "db.example.com", 100.0)
    three = ["db.example.com"] * 3
    serve(policy, calls(*three))
    policy.review(10.0)
    assert policy.explain("w")[0].location == "frankfurt"
    measure(policy, "frankfurt", 90.0)
    policy.review(4000.0)

    measure(policy, "dallas", 0.1)
    policy.review(8000.0)
    assert policy.explain("w")[0].location == "dallas"
    measure(policy, "dallas", 157.0)
    policy.review(8000.0 + 700.0)

    assert policy.explain("w")[0].location == "frankfurt"


def test_the_more_requests_went_to_and_fro_the_more_a_move_has_to_gain(policy: SmartPlacement) -> None:
    serve(policy, calls(*["db.example.com"] * 3))
    measure(policy, "frankfurt", 300.0)
    moves = 0
    for hour in range(48):
        # by turns it is an eighth faster there than in Sydney, and slower
        measure(policy, "dallas", 160.0 if hour % 2 else 225.0)
        moves += bool(policy.review(10.0 + hour * 3600.0))

    assert 1 <= moves <= 5


def measure(policy: SmartPlacement, location: str, rtt: float) -> None:
    for _ in range(15):
        policy.measured(location, "db.example.com", rtt)
