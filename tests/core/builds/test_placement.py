"""Where builds run: the strategies one by one, and the chain of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from kedge.builds.elsewhere import LeftElsewhere
from kedge.contracts.placement import Candidate, PlacementRequest
from kedge.db.clock import now_ms
from kedge.db.queries.nodes import Present
from kedge.db.queries.queue import Load as Running
from kedge.placement.build_places import BuildPlaces
from kedge.placement.chain import Chain, Refused
from kedge.placement.strategies import STRATEGIES
from kedge.testing.fake_host import FakeHost

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.contracts.placement import Placement

FORGE, REGISTRY = "git.test:443", "registry.test:443"


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """A strategy by its name, or a chain of several."""

    def one(name: str, **settings: Any) -> Placement:
        strategy = STRATEGIES[name]
        return strategy(strategy.Settings(**settings), FakeHost(tmp_path))

    return one


def place(location: str, **known: Any) -> Candidate:
    return Candidate(**{"location": location, "compute": "process", "running": 0, **known})


def request(**known: Any) -> PlacementRequest:
    return PlacementRequest(**{"build_uuid": "b", "account": "a", "worker": "w", "production": True, **known})


def first(strategy: Placement, *candidates: Candidate, **known: Any) -> str:
    return strategy.order(request(**known), candidates)[0].location


def test_capacity_may_differ_from_place_to_place(make: Any) -> None:
    capacity = make("capacity", max_builds=2, locations={"small": 1, "none": 0})

    assert capacity.approve(request(), place("big", running=1)) is None
    assert capacity.approve(request(), place("big", running=2)) == "2 of 2 builds run"
    assert capacity.approve(request(), place("small", running=1)) == "1 of 1 builds run"
    assert capacity.approve(request(), place("none")) == "0 of 0 builds run"
    assert first(capacity, place("full", running=3), place("empty")) == "empty"


def test_busy_machines_are_spared(make: Any) -> None:
    load = make("load", refuse_above=2)

    assert load.approve(request(), place("x", load=2.0)) is None
    assert load.approve(request(), place("x")) is None
    assert "a load of 2.1" in load.approve(request(), place("x", load=2.1))
    assert first(load, place("busy", load=1.5), place("idle", load=0.1)) == "idle"
    assert first(load, place("near", load=0.12), place("same", load=0.1)) == "near"


def test_an_account_gets_its_share_while_others_wait(make: Any) -> None:
    fairness = make("fairness", share=0.5)
    mine = place("x", running=3, accounts={"a": 3})

    assert fairness.approve(request(), mine) is None
    assert fairness.approve(request(account="b", others_wait=1), mine) is None
    assert fairness.approve(request(others_wait=1), place("x", running=1, accounts={"a": 1})) is None
    refused = fairness.approve(request(others_wait=1), mine)
    assert refused == "3 of the 3 builds there are the account's, and others wait"
    assert first(fairness, mine, place("y", running=9)) == "y"


def test_builds_run_near_what_they_talk_to(make: Any) -> None:
    distance = make("distance", hosts={FORGE: 4, REGISTRY: 20}, refuse_above=1000)
    near = place("near", distances={FORGE: 100.0, REGISTRY: 2.0})
    far = place("far", distances={FORGE: 2.0, REGISTRY: 60.0})
    unknown = place("unknown", distances={FORGE: 1.0})

    assert set(distance.targets) == {FORGE, REGISTRY}
    assert first(distance, unknown, far, near) == "near"
    assert distance.order(request(), [unknown, far, near])[-1] is unknown
    assert distance.approve(request(), near) is None
    assert distance.approve(request(), unknown) is None
    assert "would wait 1208 ms for git.test:443, registry.test:443" in distance.approve(request(), far)


def test_what_a_build_is_known_to_talk_to_counts_without_a_word_of_configuration(make: Any) -> None:
    distance = make("distance", refuse_above=1000)
    near = place("near", distances={FORGE: 2.0})
    far = place("far", distances={FORGE: 150.0})

    talks_to = {FORGE: 8.0, "nobody.measures.it:443": 40.0}
    assert first(distance, far, near, talks_to=talks_to) == "near"
    assert first(distance, far, near) == "far"
    assert first(make("distance", hosts={FORGE: 0.5}), far, near, talks_to=talks_to) == "far"
    refused = distance.approve(request(talks_to={FORGE: 8.0}), far)
    assert refused == "too far: a build would wait 1200 ms for git.test:443"


@pytest.mark.parametrize("host", ["https://git.test", "git.test", ":443", "git.test:port", "a b:1"])
def test_what_is_no_address_is_told_at_the_start(make: Any, host: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        make("distance", hosts={host: 1})


def test_caches_are_warm_where_a_worker_was_built_last(make: Any) -> None:
    cache, now = make("cache", fresh="1h"), now_ms()

    places = [place("never"), place("before"), place("last")]
    built = {"before": now - 3_000_000, "last": now - 1_000, "stale": now - 4_000_000}
    assert [one.location for one in cache.order(request(built=built), places)] == ["last", "before", "never"]
    assert first(cache, place("never"), place("stale"), built=built) == "never"


def test_a_chain_says_of_every_place_why_not(make: Any) -> None:
    chain = Chain([make("capacity", max_builds=1), make("load", refuse_above=1)])

    refused = chain.place(request(), [place("b", running=1), place("a", load=3.0)])

    assert isinstance(refused, Refused)
    assert refused.reason == (
        "a: its machine is busy: a load of 3.0 for each processor; b: 1 of 1 builds run"
    )
    assert chain.place(request(), []) == Refused(reason="no location can run builds")


def test_the_last_strategy_counts_most_and_of_equals_the_first_place(make: Any) -> None:
    here, there = place("here", running=1), place("there", distances={FORGE: 50.0})
    by_distance = Chain([make("capacity"), make("distance", hosts={FORGE: 1})])

    assert by_distance.targets == {FORGE}
    assert by_distance.place(request(), [here, there]) is there
    assert Chain([make("cache")]).place(request(), [here, there]) is here


def node(name: str, location: str, **known: Any) -> Present:
    return Present(**{"name": name, "location": location, "region": None, "url": "", **known})


def test_a_place_is_all_nodes_of_one_location_and_backend() -> None:
    nodes = [
        node("n1", "here", compute="process", load=0.5),
        node("n2", "there", compute="docker", load=3.0),
        node("n3", "there", compute="docker", load=1.0),
        node("n4", "there", compute="ecs", load=2.0),
    ]
    running = Running(by_account={}, by_place={("docker", "there"): {"a": 2}, ("gone", "gone"): {"a": 1}})
    places = BuildPlaces(("process", "here"), nodes, running, {"there": {FORGE: 1.0}})

    found = {(one.compute, one.location): one for one in places.candidates()}
    assert list(found) == [("process", "here"), ("docker", "there"), ("ecs", "there")]
    docker = found["docker", "there"]
    assert (docker.running, docker.load, docker.distances) == (2, 1.0, {FORGE: 1.0})
    assert not places.is_here(docker)
    places.count(docker, "b")
    assert {one.compute: one.accounts for one in places.candidates()}["docker"] == {"a": 2, "b": 1}


def test_a_build_is_left_to_another_node_for_a_while_and_not_for_ever() -> None:
    now = [100.0]
    left = LeftElsewhere(5.0, lambda: now[0])

    assert left.wait(1)
    now[0] += 4.9
    assert left.wait(1)
    assert left.wait(2)
    now[0] += 0.2
    assert not left.wait(1)
    assert left.wait(2)
    left.keep({2})
    assert left.wait(1)
