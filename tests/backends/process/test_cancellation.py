"""Who is cancelled in the very moment in which what he waits for comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kedge_process.pool import RunnerPool

if TYPE_CHECKING:
    from tests.backends.process.conftest import Lab

    from kedge_process.lease import Lease


async def test_a_runner_that_comes_as_its_start_is_cancelled_is_the_next_ones(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = await lab.open(warm=0)
    pool = RunnerPool(compute._forks.fork, 0)
    hand_out = pool._hand_out
    handed: list[Lease] = []

    def and_cancel(lease: Lease) -> None:
        hand_out(lease)
        if not handed:
            take.cancel()
        handed.append(lease)

    monkeypatch.setattr(pool, "_hand_out", and_cancel)
    take = asyncio.create_task(pool.take())
    with pytest.raises(asyncio.CancelledError):
        await take

    lease = await pool.take()

    assert lease is handed[0]
    lease.discard()
    await pool.close()


async def test_nobody_forks_for_a_start_that_was_cancelled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = await lab.open(warm=0)
    pool = RunnerPool(compute._forks.fork, 0)
    take = asyncio.create_task(pool.take())
    # it waits, and the fork is on its way
    await asyncio.sleep(0)
    take.cancel()
    with pytest.raises(asyncio.CancelledError):
        await take

    assert not pool._waiting
    await pool.close()


async def test_a_stop_that_is_cancelled_as_its_attempt_ends_is_cancelled(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = await lab.open()
    compute_id, _ = await lab.start(["wait"])
    attempt = compute._attempts.get(compute_id)
    assert attempt is not None
    stop = asyncio.create_task(compute._stop(attempt, 600.0))
    cancel_as_it_is_set(attempt.ended, stop, monkeypatch)

    with pytest.raises(asyncio.CancelledError):
        await stop


def cancel_as_it_is_set(
    event: asyncio.Event, task: asyncio.Task[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancel a task in the turn of the loop in which what it waits for comes."""
    set_ = event.set

    def and_cancel() -> None:
        set_()
        task.cancel()

    monkeypatch.setattr(event, "set", and_cancel)
