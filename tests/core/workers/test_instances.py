"""Instances come with requests, go without, and tell why when they do not come."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.config.settings import RuntimeSettings
from kedge.contracts.runtime import InstanceKind, InstanceRequest
from kedge.errors import InstanceFailed, NotFound, Overloaded, StartRefused
from kedge.testing.fake_host import FakeHost
from kedge.testing.fake_runtime import FakeRuntime, FakeRuntimeSettings
from kedge.workers.instances import Instances
from kedge.workers.probes import NotUp, wait_until_up
from kedge.workers.runnable import Runnable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge.contracts.runtime import Instance

PATIENCE = 60.0


class Lab:
    """Instances over a runtime that a test steers."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime
        self.notes: list[str] = []
        self.health: str | None = None
        self.start_timeout = PATIENCE
        self.instances: Instances

    def open(self, **settings: Any) -> Instances:
        self.instances = Instances(self, self.load, RuntimeSettings(**settings))
        return self.instances

    async def load(self, version_id: str) -> Runnable:
        if version_id == "unknown":
            raise NotFound("there is no such version")
        return Runnable(
            account_id="a",
            worker_id="w",
            worker="shop",
            version_id=version_id,
            kind=InstanceKind.COMMAND,
            entry=("serve",),
            health=self.health,
        )

    async def start(self, runnable: Runnable) -> Instance:
        instance = await self.runtime.start(
            InstanceRequest(
                instance_id=uuid4().hex[:12],
                account_id=runnable.account_id,
                worker=runnable.worker,
                version_id=runnable.version_id,
                kind=runnable.kind,
                entry=runnable.entry,
            )
        )
        try:
            await wait_until_up(instance, runnable.health, timeout=self.start_timeout)
        except NotUp as error:
            await instance.stop(grace=0)
            raise InstanceFailed(f"an instance of shop {error.reason}", probes=error.probes) from None
        return instance

    async def request(self, version_id: str) -> None:
        async with self.instances.lease(version_id):
            pass

    def note(self, runnable: Runnable, text: str) -> None:
        self.notes.append(text)

    def tail(self, instance: Instance) -> str:
        return "its last words"

    def lengthen_back_off(self) -> None:
        """So that it is not over before a slow machine has looked."""
        (pool,) = self.instances.of_worker("w")
        pool._retry_at += 60

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  (the fake tells nobody)
                await asyncio.sleep(0.005)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    runtime = FakeRuntime(FakeRuntimeSettings(), FakeHost(tmp_path))
    await runtime.open()
    lab = Lab(runtime)
    lab.open()
    yield lab
    await lab.instances.close()
    await runtime.close()


async def test_the_first_request_starts_an_instance_and_the_next_takes_the_same(lab: Lab) -> None:
    async with lab.instances.lease("v1") as first:
        assert first.address == lab.runtime.started[0].address
        assert (first.version_id, first.draining) == ("v1", False)
    async with lab.instances.lease("v1") as second:
        assert second.instance_id == first.instance_id
    assert len(lab.runtime.started) == 1


async def test_many_first_requests_wait_for_one_instance(lab: Lab) -> None:
    lab.runtime.hold.clear()

    async def request() -> str:
        async with lab.instances.lease("v1") as lease:
            return lease.instance_id

    requests = [asyncio.create_task(request()) for _ in range(20)]
    await lab.until(lambda: lab.runtime.started and lab.runtime.started[0].requests)
    assert not any(task.done() for task in requests)
    lab.runtime.hold.set()
    assert len(set(await asyncio.gather(*requests))) == 1


async def test_more_requests_than_one_instance_takes_start_more_up_to_the_limit(lab: Lab) -> None:
    lab.open(concurrency=2, max_instances=2)
    async with AsyncExitStack() as stack:
        leases = [await stack.enter_async_context(lab.instances.lease("v1")) for _ in range(4)]
        assert sorted(lease.instance_id for lease in leases) == sorted(
            2 * [instance.instance_id for instance in lab.runtime.started]
        )
        waiting = asyncio.create_task(lab.request("v1"))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    assert len(lab.runtime.started) == 2


async def test_the_queue_has_an_end(lab: Lab) -> None:
    lab.open(concurrency=1, max_instances=1, queue=1)
    async with lab.instances.lease("v1"):
        waiting = asyncio.create_task(lab.request("v1"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match=r"1 requests wait for shop already.*max_instances"):
            await lab.request("v1")
    await waiting


async def test_waiting_has_an_end(lab: Lab) -> None:
    lab.open(concurrency=1, max_instances=1)
    async with lab.instances.lease("v1"):
        # only now: starting the instance may take longer
        (pool,) = lab.instances.of_worker("w")
        pool._settings = RuntimeSettings(queue_timeout=0.05)
        with pytest.raises(Overloaded, match=r"no instance of shop was free for 0\.05 s"):
            await lab.request("v1")


async def test_a_request_that_is_given_up_while_it_waits_takes_no_place(lab: Lab) -> None:
    lab.open(concurrency=1, max_instances=1)
    async with lab.instances.lease("v1"):
        given_up = asyncio.create_task(lab.request("v1"))
        await asyncio.sleep(0)
    # the instance was handed to it in the moment in which it goes
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await lab.request("v1")
    state = lab.instances.state("v1")
    assert state is not None
    assert (state.ready, state.in_flight) == (1, 0)


async def test_an_instance_that_nobody_asks_is_ended_and_started_again_on_demand(lab: Lab) -> None:
    lab.open(idle_timeout=0.05)
    await lab.request("v1")
    await lab.runtime.started[0].exited()
    await lab.request("v1")
    assert len(lab.runtime.started) == 2


async def test_an_instance_at_work_is_not_idle(lab: Lab) -> None:
    lab.open(idle_timeout=0.02)
    async with lab.instances.lease("v1") as lease:
        await asyncio.sleep(0.06)
        assert not lease.draining
        assert lab.runtime.running


async def test_a_start_that_fails_tells_what_was_seen(lab: Lab) -> None:
    lab.runtime.status = 500
    lab.start_timeout = 2.0
    with pytest.raises(InstanceFailed, match="shop did not answer within 2 s") as caught:
        await lab.request("v1")
    assert any(probe.endswith("GET /: status 500") for probe in caught.value.probes)
    assert not lab.runtime.running


async def test_a_health_path_must_answer_with_success(lab: Lab) -> None:
    lab.runtime.status, lab.health, lab.start_timeout = 404, "/", 1.0
    with pytest.raises(InstanceFailed) as caught:
        await lab.request("v1")
    assert any(probe.endswith("GET /: status 404") for probe in caught.value.probes)
    lab.health = None
    await lab.request("v2")


async def test_an_instance_that_ends_before_it_answers_has_failed_at_once(lab: Lab) -> None:
    lab.runtime.exits_with = 1
    with pytest.raises(InstanceFailed, match="shop exited with code 1 before it answered"):
        await lab.request("v1")


async def test_all_who_wait_hear_of_a_refused_start(lab: Lab) -> None:
    lab.runtime.refusal = StartRefused("there is no such image")
    results = await asyncio.gather(*[lab.request("v1") for _ in range(3)], return_exceptions=True)
    assert [str(result) for result in results] == ["there is no such image"] * 3
    assert {type(result) for result in results} == {InstanceFailed}


async def test_a_start_that_fails_as_no_runtime_may_is_told_and_counted_like_any_other(lab: Lab) -> None:
    lab.runtime.refusal = RuntimeError("a fault of a plugin")
    async with asyncio.timeout(PATIENCE):
        results = await asyncio.gather(*[lab.instances.warm("v1") for _ in range(3)], return_exceptions=True)
    assert {type(result) for result in results} == {InstanceFailed}
    assert {str(result) for result in results} == {
        "no instance of shop can be started: something in Kedge failed at it, and its log says what"
    }
    assert lab.notes
    lab.lengthen_back_off()
    with pytest.raises(InstanceFailed) as caught:
        await lab.instances.warm("v1")
    assert caught.value.retry_after > 0


async def test_an_instance_that_cannot_be_ended_keeps_no_other_from_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*, grace: float) -> None:
        raise RuntimeError("a fault of a plugin")

    lab.open(concurrency=1)
    async with lab.instances.lease("v1"), lab.instances.lease("v1"):
        pass
    first, second = lab.runtime.started
    monkeypatch.setattr(first, "stop", fail)
    await lab.instances.close()
    assert second.end.done()
    monkeypatch.undo()


async def test_what_keeps_failing_is_started_less_and_less_often(lab: Lab) -> None:
    lab.runtime.exits_with = 1
    with pytest.raises(InstanceFailed):
        await lab.request("v1")
    lab.lengthen_back_off()
    with pytest.raises(InstanceFailed) as caught:
        await lab.request("v1")
    # the second was not tried at all
    assert len(lab.runtime.started) == 1
    assert 0 < caught.value.retry_after <= 61
    (note,) = lab.notes
    assert note.startswith("an instance of shop exited with code 1 before it answered; it has failed once")


async def test_one_crash_is_made_good_at_once_and_a_crash_loop_is_not(lab: Lab) -> None:
    await lab.request("v1")
    lab.runtime.started[0].crash(9)
    await lab.until(lambda: lab.notes)
    await lab.request("v1")
    lab.runtime.started[1].crash(9)
    await lab.until(lambda: len(lab.notes) == 2)
    lab.lengthen_back_off()
    with pytest.raises(InstanceFailed, match="shop exited with code 9") as caught:
        await lab.request("v1")
    assert (caught.value.tail, caught.value.crashed) == ("its last words", True)
    assert "it has failed 2 times, the next start is in 2 s" in lab.notes[1]


async def test_a_lease_hears_that_its_instance_has_ended(lab: Lab) -> None:
    async with lab.instances.lease("v1") as lease:
        lab.runtime.started[0].crash(1)
        async with asyncio.timeout(PATIENCE):
            await lease.drains()
        assert lease.draining


async def test_one_at_which_nobody_listens_gives_way_at_once_and_has_crashed(lab: Lab) -> None:
    async with lab.instances.lease("v1") as lost:
        lost.lose()
        async with lab.instances.lease("v1") as lease:
            assert lease.instance_id != lost.instance_id
        assert lost.draining
    (pool,) = lab.instances.of_worker("w")
    await lab.until(lambda: pool.failure is not None and len(lab.runtime.running) == 1)
    assert [member.instance.instance_id for member in pool.members] == [lease.instance_id]


async def test_a_drained_version_ends_when_its_requests_have_ended(lab: Lab) -> None:
    async with lab.instances.lease("v1") as lease:
        lab.instances.drain("v1")
        await lease.drains()
        assert lab.runtime.running
        async with lab.instances.lease("v1") as other:
            assert other.instance_id != lease.instance_id
    await lab.runtime.started[0].exited()
    assert not lab.runtime.started[1].end.done()


async def test_draining_does_not_wait_for_ever(lab: Lab) -> None:
    lab.open(drain_timeout=0.05)
    async with lab.instances.lease("v1"):
        lab.instances.drain("v1")
        await lab.runtime.started[0].exited()


async def test_an_unknown_version_is_told_and_not_remembered(lab: Lab) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            await lab.request("unknown")
    assert lab.instances.state("unknown") is None


async def test_what_is_not_used_any_more_is_forgotten(lab: Lab) -> None:
    lab.open(idle_timeout=0.01)
    await lab.request("v1")
    await lab.runtime.started[0].exited()
    await asyncio.sleep(0)

    async def forgotten() -> bool:
        await lab.request(uuid4().hex)
        return lab.instances.state("v1") is None

    async with asyncio.timeout(PATIENCE):
        while not await forgotten():
            pass


async def test_a_node_that_stops_lets_nobody_wait(lab: Lab) -> None:
    lab.runtime.hold.clear()
    waiting = asyncio.create_task(lab.request("v1"))
    await lab.until(lambda: lab.runtime.started)
    await lab.instances.close()
    with pytest.raises(Overloaded, match="this node is stopping"):
        await waiting
    lab.runtime.hold.set()


async def test_as_many_instances_as_are_wanted_answer_before_anybody_asks(lab: Lab) -> None:
    lab.open(max_instances=3)
    lab.runtime.hold.clear()
    warming = asyncio.create_task(lab.instances.warm("v1", 2))
    await lab.until(lambda: len(lab.runtime.started) == 2)
    assert (lab.instances.ready("v1"), warming.done()) == (0, False)
    lab.runtime.hold.set()
    assert await warming is True
    assert lab.instances.ready("v1") == 2
    assert await lab.instances.warm("v1", 2) is False
    # no more than there may be
    assert await lab.instances.warm("v1", 9) is True
    assert (lab.instances.ready("v1"), len(lab.runtime.started)) == (3, 3)


async def test_an_instance_that_is_kept_warm_takes_every_request_at_once(lab: Lab) -> None:
    lab.open(concurrency=1, max_instances=1)
    await lab.instances.warm("v1")
    async with lab.instances.lease("v1"):
        assert len(lab.runtime.started) == 1


async def test_what_is_warm_is_kept_although_nobody_asks_yet(lab: Lab) -> None:
    lab.open(idle_timeout=0.05, start_timeout=0.5)
    began = time.monotonic()
    await lab.instances.warm("v1")
    await lab.runtime.started[0].exited()
    assert time.monotonic() - began >= 0.5


async def test_warming_tells_why_nothing_answers(lab: Lab) -> None:
    lab.runtime.exits_with = 1
    with pytest.raises(InstanceFailed, match="exited with code 1"):
        await lab.instances.warm("v1", 2)
    assert lab.instances.ready("v1") == 0


async def test_one_instance_that_answers_will_do_where_others_do_not_start(lab: Lab) -> None:
    await lab.instances.warm("v1")
    lab.runtime.exits_with = 1
    assert await lab.instances.warm("v1", 3) is True
    assert lab.instances.ready("v1") == 1


async def test_who_warms_a_node_that_stops_is_told_so(lab: Lab) -> None:
    lab.runtime.hold.clear()
    warming = asyncio.create_task(lab.instances.warm("v1"))
    await lab.until(lambda: lab.runtime.started)
    await lab.instances.close()
    with pytest.raises(Overloaded, match="this node is stopping"):
        await warming


def test_a_node_asks_its_instances_without_a_library_that_takes_long_to_load() -> None:
    """httpx loads its half with the first request, for 0.1 s in which no visitor was answered."""
    program = "import sys, kedge.node.node; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
