"""How attempts start."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from kedge.contracts.compute import Compute, ComputeState, Scope
from kedge.testing.compute.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.contracts.compute import ComputeRequest
    from kedge.testing.orders import Exits, Orders


class Starts(Place):
    """Each attempt once, with what it was given and nothing else."""

    def test_it_is_a_compute_backend_with_a_name_and_frozen_settings(
        self, make_compute: Callable[[], Compute]
    ) -> None:
        compute = make_compute()
        assert isinstance(compute, Compute)
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", compute.name)
        assert compute.Settings.model_config.get("frozen") is True
        assert compute.Settings.model_config.get("extra") == "forbid"
        assert compute.scope in Scope

    async def test_the_runner_gets_its_assignment(
        self, compute: Compute, orders: Orders, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory(attempt=3)
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        # the endpoint may have another name where the runner is: that it has called proves it right
        told = {key: runner.hello[key] for key in ("build_uuid", "attempt", "token")}
        assert told == {key: getattr(request, key) for key in told}
        assert runner.hello["workspace"]
        status = await compute.inspect(compute_id)
        assert (status.build_uuid, status.attempt) == (request.build_uuid, 3)
        assert (status.compute_id, status.state) == (compute_id, ComputeState.RUNNING)
        assert status in await compute.list()
        runner.order(["exit", 0])

    async def test_each_attempt_starts_in_an_empty_workspace_of_its_own(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        first = request_factory()
        second = request_factory(build_uuid=first.build_uuid, attempt=2)
        ids = [await compute.start(first), await compute.start(second)]
        runners = [await orders.caller(first), await orders.caller(second)]
        assert ids[0] != ids[1]
        places = [(runner.hello.get("machine"), runner.hello["workspace"]) for runner in runners]
        assert places[0] != places[1]
        for runner in runners:
            runner.order(["exit", 0])

    async def test_a_second_start_returns_the_first_and_starts_nothing(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        assert await compute.start(request) == compute_id
        runner = await orders.caller(request)
        assert len(await compute.list()) == 1
        runner.order(["exit", 0])
        await exits.of(compute_id)
        assert await compute.start(request) == compute_id

    async def test_concurrent_starts_of_one_attempt_start_one_runner(
        self, compute: Compute, orders: Orders, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        ids = await asyncio.gather(*[compute.start(request) for _ in range(8)])
        assert len(set(ids)) == 1
        await orders.caller(request)
        assert len(await compute.list()) == 1

    async def test_attempts_start_and_end_side_by_side(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        requests = [request_factory() for _ in range(8)]
        ids = await asyncio.gather(*[compute.start(request) for request in requests])
        assert len(set(ids)) == len(requests)
        for code, request in enumerate(requests):
            (await orders.caller(request)).order(["exit", code])
        ends = await asyncio.gather(*[exits.of(compute_id) for compute_id in ids])
        assert [end.exit_code for end in ends] == list(range(8))

    @pytest.mark.parametrize("delay", [0, 1, 3, 10])
    async def test_a_cancelled_start_leaves_nothing_or_what_the_list_shows(
        self,
        compute: Compute,
        orders: Orders,
        request_factory: Callable[..., ComputeRequest],
        delay: int,
    ) -> None:
        request = request_factory()
        start = asyncio.create_task(compute.start(request))
        for _ in range(delay):
            await asyncio.sleep(0)
        start.cancel()
        await asyncio.wait([start])
        listed = await compute.list()
        if not listed:
            assert not orders.has_called(request)
            return
        (status,) = listed
        assert (status.build_uuid, status.attempt) == (request.build_uuid, 1)
        assert await compute.start(request) == status.compute_id
        await orders.caller(request)
