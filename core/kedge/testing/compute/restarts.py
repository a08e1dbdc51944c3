"""What a node finds again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.contracts.compute import ComputeState, ExitCause
from kedge.testing.compute.place import Place
from kedge.testing.orders import Exits

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.contracts.compute import Compute, ComputeRequest
    from kedge.testing.orders import Caller, Orders


class Restarts(Place):
    """Attempts outlive their node where the backend says that it adopts them."""

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
