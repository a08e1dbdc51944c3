"""Nodes of several locations, each with a cluster of its own region."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends.ecs.conftest import SUBNETS, settings_for
from tests.backends.ecs.test_tasks import IdleRunner, request

from kedge import ComputeState, ExitCause
from kedge.testing.ecs import ControlPlane, EcsServer
from kedge.testing.ecs.refused import Refused
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import Exits
from kedge_ecs.compute import EcsCompute
from kedge_ecs.settings import EcsSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

EU = {"cluster": "builds", "region": "eu-central-1", "network": SUBNETS, "untrusted_network": SUBNETS}
US = {**EU, "cluster": "more-builds", "region": "us-east-1"}


@pytest.fixture
def planes() -> list[ControlPlane]:
    return [
        ControlPlane(IdleRunner()),
        ControlPlane(IdleRunner(), cluster="more-builds", region="us-east-1"),
    ]


@pytest.fixture
def server(planes: list[ControlPlane], monkeypatch: pytest.MonkeyPatch) -> Iterator[EcsServer]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with EcsServer(planes[0]) as server:
        server.add(planes[1])
        yield server
        for plane in planes:
            plane.close()
    assert server.wrong_answers == []


@pytest.fixture
async def nodes(server: EcsServer, tmp_path: Path) -> AsyncIterator[dict[str, EcsCompute]]:
    """One node at each location."""
    chosen: dict[str, Any] = settings_for(server, image="kedge/build-image", attempts=1)
    chosen |= {"locations": {"eu": EU, "us": US}}
    settings = EcsSettings.model_validate(chosen)
    nodes = {name: EcsCompute(settings, FakeHost(tmp_path, location=name)) for name in ("eu", "us")}
    for node in nodes.values():
        await node.open()
    yield nodes
    for node in nodes.values():
        await node.close()


async def test_each_node_starts_builds_in_the_cluster_of_its_location(
    nodes: dict[str, EcsCompute], planes: list[ControlPlane]
) -> None:
    for node in nodes.values():
        await node.start(request())

    assert [len(plane.tasks()) for plane in planes] == [1, 1]
    assert [[name for name, _ in plane.calls].count("RunTask") for plane in planes] == [1, 1]
    assert ":us-east-1:" in planes[1].tasks()[0].arn


async def test_a_node_finds_and_ends_what_another_has_started_elsewhere(
    nodes: dict[str, EcsCompute], planes: list[ControlPlane]
) -> None:
    asked = request()
    compute_id = await nodes["us"].start(asked)

    found = await nodes["eu"].inspect(compute_id)
    assert (found.state, found.build_uuid) != (ComputeState.GONE, "")
    assert compute_id in [status.compute_id for status in await nodes["eu"].list()]
    await nodes["eu"].stop(compute_id, grace=0)

    assert (await nodes["eu"].inspect(compute_id)).cause is ExitCause.STOPPED
    assert planes[1].tasks()[0].is_stopped


async def test_a_region_that_does_not_answer_keeps_nothing_from_those_of_another(
    nodes: dict[str, EcsCompute], planes: list[ControlPlane]
) -> None:
    exits = Exits(nodes["eu"])
    far, near = await nodes["us"].start(request()), await nodes["eu"].start(request())
    await nodes["eu"].inspect(far)
    throttled = [Refused("ThrottlingException", "Rate exceeded") for _ in range(1000)]
    planes[1].faults.errors["DescribeTasks"].extend(throttled)

    planes[0].tasks()[0].ask_to_stop("SpotInterruption", "Your Spot Task was interrupted.")

    assert (await exits.of(near)).cause is ExitCause.INFRASTRUCTURE
    planes[1].faults.errors["DescribeTasks"].clear()
    planes[1].tasks()[0].ask_to_stop("SpotInterruption", "Your Spot Task was interrupted.")
    assert (await exits.of(far)).cause is ExitCause.INFRASTRUCTURE
    await exits.close()


async def test_starts_of_one_attempt_that_race_and_are_throttled_start_one_task(
    nodes: dict[str, EcsCompute], server: EcsServer, planes: list[ControlPlane], tmp_path: Path
) -> None:
    settings = settings_for(server, image="kedge/build-image", attempts=10)
    several = [EcsCompute(EcsSettings.model_validate(settings), FakeHost(tmp_path)) for _ in range(3)]
    for node in several:
        await node.open()
    planes[0].faults.errors["RunTask"].extend(Refused("ThrottlingException", "slower") for _ in range(5))
    asked = request()

    ids = await asyncio.gather(*[node.start(asked) for node in several for _ in range(3)])

    assert len(set(ids)) == len(planes[0].tasks()) == 1
    for node in several:
        await node.close()


def test_a_place_that_no_location_has_is_looked_at_if_it_is_named() -> None:
    def places(location: str, **settings: Any) -> list[str]:
        chosen = {"image": "x", "locations": {"eu": EU, "us": US}, **settings}
        return [one.cluster for one in EcsSettings.model_validate(chosen).places(location)]

    assert places("us") == ["more-builds", "builds"]
    assert places("eu", cluster="third") == ["builds", "more-builds", "third"]
    assert places("mars", cluster="third") == ["third", "builds", "more-builds"]
