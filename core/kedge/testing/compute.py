"""What every compute backend promises, as tests."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.contracts.compute import Compute, ComputeRequest, ComputeState, ExitCause, Scope
from kedge.testing.orders import PATIENCE, STAND_IN, Exits, Orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kedge.testing.orders import Caller


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


class ComputeSuite:
    """Subclass it as `class TestMine(ComputeSuite)` and give the fixture `make_compute`.

    The runner's place is taken by a stand-in, found by importing `kedge_runner` (see `stand_in`) or from
    the folder `STAND_IN`; it calls the test at the request's endpoint and does what it is told.
    """

    #: attempts after which a backend has opened what it keeps open, such as pools of connections
    settling = 3
    #: whether requests are of trusted builds; for a backend that refuses any other
    trusted = False

    @pytest.fixture(autouse=True)
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever looks for `kedge_runner` finds the stand-in."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "kedge_runner"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(STAND_IN)

    @pytest.fixture
    def make_compute(self) -> Callable[[], Compute]:
        """Returns a new instance, not yet open, over the same place each time: a node that restarts."""
        raise NotImplementedError

    @pytest.fixture
    async def orders(self) -> AsyncIterator[Orders]:
        """Where the stand-in calls; override it where `127.0.0.1` is not this machine for a runner."""
        async with Orders() as orders:
            yield orders

    @pytest.fixture
    async def compute(self, orders: Orders, make_compute: Callable[[], Compute]) -> AsyncIterator[Compute]:
        """The backend under test, open; what runs on it is ended after the test."""
        compute = make_compute()
        await compute.open()
        yield compute
        for status in await compute.list():
            await compute.stop(status.compute_id, grace=0)
            await compute.forget(status.compute_id)
        await compute.close()

    @pytest.fixture
    async def exits(self, compute: Compute) -> AsyncIterator[Exits]:
        """What the backend tells of ends."""
        exits = Exits(compute)
        yield exits
        await exits.close()

    @pytest.fixture
    def request_factory(self, orders: Orders) -> Callable[..., ComputeRequest]:
        """Makes a request for a new build; keyword arguments replace its fields."""

        def make(**fields: Any) -> ComputeRequest:
            new = {
                "build_uuid": str(uuid4()),
                "attempt": 1,
                "endpoint": orders.endpoint,
                "token": uuid4().hex,
                "trusted": self.trusted,
            }
            return ComputeRequest(**{**new, **fields})

        return make

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

    @pytest.mark.parametrize("code", [0, 1, 3, 255])
    async def test_an_end_is_told_with_its_exit_code(
        self,
        compute: Compute,
        orders: Orders,
        exits: Exits,
        request_factory: Callable[..., ComputeRequest],
        code: int,
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        (await orders.caller(request)).order(["exit", code])
        status = await exits.of(compute_id)
        assert (status.state, status.exit_code, status.cause) == (ComputeState.EXITED, code, ExitCause.SELF)
        assert (status.build_uuid, status.attempt) == (request.build_uuid, 1)
        assert await compute.inspect(compute_id) == status
        assert status in await compute.list()

    async def test_a_killed_runner_is_told_as_infrastructure(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        (await orders.caller(request)).order(["kill", 9])
        status = await exits.of(compute_id)
        assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.INFRASTRUCTURE)
        assert status.detail

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

    async def test_an_unknown_id_is_gone_and_harmless(self, compute: Compute) -> None:
        for compute_id in ("", "no-such-thing", "1-1-00000000", "../../etc", "x" * 300, "\n\0"):
            assert (await compute.inspect(compute_id)).state is ComputeState.GONE
            await compute.stop(compute_id, grace=0)
            await compute.forget(compute_id)

    async def test_a_stop_asks_first(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        runner.order(["wait"])
        await compute.stop(compute_id, grace=PATIENCE)
        await runner.gone()
        status = await exits.of(compute_id)
        assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.STOPPED)
        assert compute_id not in [status.compute_id for status in await compute.list()]

    async def test_a_stop_kills_all_that_will_not_end(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        runner.order(["daemon"], ["ignore"])
        daemon = await orders.caller(request, "daemon")
        async with asyncio.timeout(PATIENCE):
            await compute.stop(compute_id, grace=0.05)
        await runner.gone()
        await daemon.gone()
        assert (await exits.of(compute_id)).cause is ExitCause.STOPPED

    async def test_stopping_twice_at_once_and_again_later_is_harmless(
        self, compute: Compute, orders: Orders, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        runner.order(["ignore"])
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*[compute.stop(compute_id, grace=0.05) for _ in range(3)])
            await compute.stop(compute_id, grace=60)
        await runner.gone()
        await compute.forget(compute_id)
        await compute.stop(compute_id, grace=60)

    async def test_a_hasty_stop_does_not_wait_for_a_patient_one(
        self, compute: Compute, orders: Orders, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        runner.order(["ignore"])
        patient = asyncio.create_task(compute.stop(compute_id, grace=600))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await compute.stop(compute_id, grace=0)
            await patient

    async def test_cancelling_a_stop_does_not_undo_it(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        runner.order(["ignore"])
        stop = asyncio.create_task(compute.stop(compute_id, grace=0.05))
        await asyncio.sleep(0)
        stop.cancel()
        await runner.gone()
        assert (await exits.of(compute_id)).cause is ExitCause.STOPPED

    async def test_nothing_a_runner_leaves_behind_outlives_it(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        runner = await orders.caller(request)
        runner.order(["daemon"], ["wait"], ["exit", 0])
        daemon = await orders.caller(request, "daemon")
        runner.go_on()
        assert (await exits.of(compute_id)).exit_code == 0
        await daemon.gone()

    async def test_a_forgotten_attempt_is_gone_and_may_start_anew(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        request = request_factory()
        compute_id = await compute.start(request)
        (await orders.caller(request)).order(["exit", 0])
        await exits.of(compute_id)
        await asyncio.gather(compute.forget(compute_id), compute.forget(compute_id))
        await compute.forget(compute_id)
        assert (await compute.inspect(compute_id)).state is ComputeState.GONE
        assert await compute.list() == []

    async def test_what_ran_when_a_node_ended_is_found_or_was_ended(
        self,
        make_compute: Callable[[], Compute],
        orders: Orders,
        request_factory: Callable[..., ComputeRequest],
    ) -> None:
        request = request_factory()
        before = make_compute()
        await before.open()
        told = Exits(before)
        compute_id = await before.start(request)
        runner = await orders.caller(request)
        runner.order(["wait"], ["exit", 5])
        await before.close()
        await told.over()
        after = make_compute()
        await after.open()
        if after.adopts:
            await self._adopted(after, request, compute_id, runner)
        else:
            await runner.gone()
            assert await after.list() == []
        await after.close()

    async def _adopted(
        self, compute: Compute, request: ComputeRequest, compute_id: str, runner: Caller
    ) -> None:
        exits = Exits(compute)
        (status,) = await compute.list()
        assert (status.compute_id, status.state) == (compute_id, ComputeState.RUNNING)
        assert (status.build_uuid, status.attempt) == (request.build_uuid, request.attempt)
        assert await compute.start(request) == compute_id
        runner.go_on()
        ended = await exits.of(compute_id)
        assert (ended.state, ended.exit_code, ended.cause) == (ComputeState.EXITED, 5, ExitCause.SELF)
        await compute.forget(compute_id)
        await exits.close()

    async def test_what_ended_while_no_node_looked_is_still_known(
        self,
        make_compute: Callable[[], Compute],
        orders: Orders,
        request_factory: Callable[..., ComputeRequest],
    ) -> None:
        request = request_factory()
        before = make_compute()
        await before.open()
        if not before.adopts:
            await before.close()
            return
        compute_id = await before.start(request)
        runner = await orders.caller(request)
        runner.order(["wait"], ["exit", 6])
        await before.close()
        runner.go_on()
        await runner.gone()
        after = make_compute()
        await after.open()
        exits = Exits(after)
        status = await after.inspect(compute_id)
        if status.state is not ComputeState.EXITED:
            status = await exits.of(compute_id)
        assert (status.exit_code, status.cause) == (6, ExitCause.SELF)
        await after.forget(compute_id)
        await exits.close()
        await after.close()

    async def test_it_can_be_opened_and_closed_unused(self, make_compute: Callable[[], Compute]) -> None:
        for _ in range(3):
            compute = make_compute()
            await compute.open()
            exits = Exits(compute)
            await compute.close()
            await exits.over()

    async def test_attempts_leave_no_descriptor_open(
        self, compute: Compute, orders: Orders, exits: Exits, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        async def one() -> None:
            request = request_factory()
            compute_id = await compute.start(request)
            (await orders.caller(request)).order(["exit", 0])
            await exits.of(compute_id)
            await compute.forget(compute_id)
            await orders.hang_up(request)

        for _ in range(self.settling):
            await one()
        before = open_descriptors()
        for _ in range(10):
            await one()
        assert open_descriptors() <= before + 3
