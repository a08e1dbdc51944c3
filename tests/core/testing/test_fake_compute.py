"""The steerable compute backend keeps the contract, and can be steered."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from kedge import (
    CapacityUnavailable,
    ComputeRequest,
    ComputeState,
    ExitCause,
    StartRefused,
)
from kedge.testing.compute import ComputeSuite
from kedge.testing.fake_compute import FakeCompute, FakeMachine
from kedge.testing.orders import Exits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kedge import Compute


class StandIn:
    """The stand-in runner as a coroutine."""

    def __init__(self, request: ComputeRequest) -> None:
        self._request = request
        self._daemons: list[asyncio.StreamWriter] = []

    async def run(self) -> int:
        reader, writer = await self._call("runner")
        try:
            for step in json.loads(await reader.readline()):
                code = await self._do(step, reader)
                if code is not None:
                    return code
            return 0
        finally:
            for open_writer in [writer, *self._daemons]:
                open_writer.close()

    async def _call(self, role: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        request = self._request
        host, _, port = request.endpoint.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        hello = {
            "build_uuid": request.build_uuid,
            "attempt": request.attempt,
            "endpoint": request.endpoint,
            "token": request.token,
            "workspace": f"{request.build_uuid}-{request.attempt}",
            "role": role,
            "pid": 0,
        }
        writer.write(json.dumps(hello).encode() + b"\n")
        return reader, writer

    async def _do(self, step: list[Any], reader: asyncio.StreamReader) -> int | None:
        match step:
            case ["exit", code]:
                return int(code)
            case ["kill", number]:
                raise RuntimeError(f"signal {number}")
            case ["wait"]:
                await reader.readline()
            case ["ignore"]:
                try:
                    await reader.readline()
                except asyncio.CancelledError:
                    await reader.readline()
            case ["daemon"]:
                self._daemons.append((await self._call("daemon"))[1])
        return None


async def run_stand_in(request: ComputeRequest) -> int:
    return await StandIn(request).run()


class TestFake(ComputeSuite):
    @pytest.fixture
    def make_compute(self) -> Callable[[], Compute]:
        machine = FakeMachine()
        return lambda: FakeCompute(runner=run_stand_in, machine=machine)


@pytest.fixture
async def fake() -> AsyncIterator[FakeCompute]:
    fake = FakeCompute()
    await fake.open()
    yield fake
    for status in await fake.list():
        await fake.stop(status.compute_id, grace=0)
    await fake.close()


def request(build_uuid: str = "b1") -> ComputeRequest:
    return ComputeRequest(build_uuid=build_uuid, attempt=1, endpoint="http://127.0.0.1:1", token="t")


async def test_starts_fail_as_the_test_says_and_leave_nothing(fake: FakeCompute) -> None:
    fake.failures += [StartRefused("never"), CapacityUnavailable("not now")]
    with pytest.raises(StartRefused):
        await fake.start(request())
    with pytest.raises(CapacityUnavailable):
        await fake.start(request())
    assert await fake.list() == []
    await fake.start(request())
    assert fake.requests == [request()]


async def test_a_slow_start_runs_only_when_it_is_released() -> None:
    runs = asyncio.Event()

    async def run(_: ComputeRequest) -> int:
        runs.set()
        return 0

    fake = FakeCompute(runner=run)
    fake.hold()
    compute_id = await fake.start(request())
    assert (await fake.inspect(compute_id)).state is ComputeState.STARTING
    assert not runs.is_set()
    fake.release()
    await runs.wait()
    await fake.close()


async def test_an_attempt_that_starts_slowly_can_be_stopped(fake: FakeCompute) -> None:
    fake.hold()
    compute_id = await fake.start(request())
    await fake.stop(compute_id, grace=1)
    assert (await fake.inspect(compute_id)).cause is ExitCause.STOPPED


async def test_a_stop_that_is_cancelled_as_its_attempt_ends_is_cancelled(
    fake: FakeCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = fake.machine.attempts[await fake.start(request())]
    stop = asyncio.create_task(fake._stop(attempt, 600))
    set_ = attempt.ended.set

    def and_cancel() -> None:
        set_()
        stop.cancel()

    monkeypatch.setattr(attempt.ended, "set", and_cancel)

    with pytest.raises(asyncio.CancelledError):
        await stop


@pytest.mark.parametrize("exit_code", [0, 7])
async def test_an_attempt_ends_with_the_code_that_the_test_says(fake: FakeCompute, exit_code: int) -> None:
    exits = Exits(fake)
    compute_id = await fake.start(request())
    fake.end(compute_id, exit_code=exit_code)
    status = await exits.of(compute_id)
    assert (status.exit_code, status.cause) == (exit_code, ExitCause.SELF)
    await exits.close()


async def test_an_attempt_can_run_out_of_memory(fake: FakeCompute) -> None:
    exits = Exits(fake)
    compute_id = await fake.start(request())
    fake.run_out_of_memory(compute_id)
    assert (await exits.of(compute_id)).cause is ExitCause.OUT_OF_MEMORY
    await exits.close()


async def test_a_lost_attempt_is_gone_without_a_word(fake: FakeCompute) -> None:
    exits = Exits(fake)
    compute_id = await fake.start(request())
    fake.lose(compute_id)
    assert (await fake.inspect(compute_id)).state is ComputeState.GONE
    assert await fake.list() == []
    other = await fake.start(request("b2"))
    fake.end(other)
    await exits.of(other)
    assert exits.told == [other]
    await exits.close()
