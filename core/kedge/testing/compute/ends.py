"""How attempts end, by themselves or because they are stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kedge.contracts.compute import ComputeState, ExitCause
from kedge.testing.compute.place import Place
from kedge.testing.descriptors import open_descriptors
from kedge.testing.orders import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.contracts.compute import Compute, ComputeRequest
    from kedge.testing.compute.place import Run
    from kedge.testing.orders import Exits, Orders


class Ends(Place):
    """Each end is told as what it was, and nothing is left behind."""

    @pytest.mark.parametrize("code", [0, 1, 3, 255])
    async def test_an_end_is_told_with_its_exit_code(
        self, compute: Compute, exits: Exits, run: Run, code: int
    ) -> None:
        run.runner.order(["exit", code])
        status = await exits.of(run.compute_id)
        assert (status.state, status.exit_code, status.cause) == (ComputeState.EXITED, code, ExitCause.SELF)
        assert (status.build_uuid, status.attempt) == (run.request.build_uuid, 1)
        assert await compute.inspect(run.compute_id) == status
        assert status in await compute.list()

    async def test_a_killed_runner_is_told_as_infrastructure(
        self, compute: Compute, exits: Exits, run: Run
    ) -> None:
        run.runner.order(["kill", 9])
        status = await exits.of(run.compute_id)
        assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.INFRASTRUCTURE)
        assert status.detail

    async def test_an_unknown_id_is_gone_and_harmless(self, compute: Compute) -> None:
        for compute_id in ("", "no-such-thing", "1-1-00000000", "../../etc", "x" * 300, "\n\0"):
            assert (await compute.inspect(compute_id)).state is ComputeState.GONE
            await compute.stop(compute_id, grace=0)
            await compute.forget(compute_id)

    async def test_a_stop_asks_first(self, compute: Compute, exits: Exits, run: Run) -> None:
        run.runner.order(["wait"])
        await compute.stop(run.compute_id, grace=PATIENCE)
        await run.runner.gone()
        status = await exits.of(run.compute_id)
        assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.STOPPED)
        assert run.compute_id not in [status.compute_id for status in await compute.list()]

    async def test_a_stop_kills_all_that_will_not_end(
        self, compute: Compute, orders: Orders, exits: Exits, run: Run
    ) -> None:
        run.runner.order(["daemon"], ["ignore"])
        daemon = await orders.caller(run.request, "daemon")
        async with asyncio.timeout(PATIENCE):
            await compute.stop(run.compute_id, grace=0.05)
        await run.runner.gone()
        await daemon.gone()
        assert (await exits.of(run.compute_id)).cause is ExitCause.STOPPED

    async def test_stopping_twice_at_once_and_again_later_is_harmless(
        self, compute: Compute, run: Run
    ) -> None:
        run.runner.order(["ignore"])
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*[compute.stop(run.compute_id, grace=0.05) for _ in range(3)])
            await compute.stop(run.compute_id, grace=60)
        await run.runner.gone()
        await compute.forget(run.compute_id)
        await compute.stop(run.compute_id, grace=60)

    async def test_a_hasty_stop_does_not_wait_for_a_patient_one(self, compute: Compute, run: Run) -> None:
        run.runner.order(["ignore"])
        patient = asyncio.create_task(compute.stop(run.compute_id, grace=600))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await compute.stop(run.compute_id, grace=0)
            await patient

    async def test_cancelling_a_stop_does_not_undo_it(self, compute: Compute, exits: Exits, run: Run) -> None:
        run.runner.order(["ignore"])
        stop = asyncio.create_task(compute.stop(run.compute_id, grace=0.05))
        await asyncio.sleep(0)
        stop.cancel()
        await run.runner.gone()
        assert (await exits.of(run.compute_id)).cause is ExitCause.STOPPED

    async def test_nothing_a_runner_leaves_behind_outlives_it(
        self, compute: Compute, orders: Orders, exits: Exits, run: Run
    ) -> None:
        run.runner.order(["daemon"], ["wait"], ["exit", 0])
        daemon = await orders.caller(run.request, "daemon")
        run.runner.go_on()
        assert (await exits.of(run.compute_id)).exit_code == 0
        await daemon.gone()

    async def test_a_forgotten_attempt_is_gone_and_may_start_anew(
        self, compute: Compute, exits: Exits, run: Run
    ) -> None:
        run.runner.order(["exit", 0])
        await exits.of(run.compute_id)
        await asyncio.gather(compute.forget(run.compute_id), compute.forget(run.compute_id))
        await compute.forget(run.compute_id)
        assert (await compute.inspect(run.compute_id)).state is ComputeState.GONE
        assert await compute.list() == []

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
