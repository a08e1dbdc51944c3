from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kedge.db.clock import now_ms
from kedge.objects import DurableObject, Objects, ObjectStorage, transaction
from kedge.testing.objects import alarm_in, list_object_ids, run_in_object, run_object_alarm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.db.engine import Database


class Counter(DurableObject):
    class_name = "Counter"

    @transaction
    def add(self, storage: ObjectStorage, amount: int) -> int:
        total: int = storage.get("total", 0) + amount
        storage.put("total", total)
        return total

    @transaction
    def fail_after_adding(self, storage: ObjectStorage) -> None:
        storage.put("total", 99)
        storage.set_alarm(now_ms())
        raise RuntimeError

    @transaction
    def ring_in(self, storage: ObjectStorage, milliseconds: int) -> None:
        storage.set_alarm(now_ms() + milliseconds)

    async def alarm(self, retries: int) -> None:
        await self.services(self, retries)


class Bell:
    """Records alarms and lets a test wait for them."""

    def __init__(self) -> None:
        self.rung: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.failures = 0

    async def __call__(self, target: Counter, retries: int) -> None:
        self.rung.put_nowait((target.id, retries))
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the alarm fails on request")

    async def next(self) -> tuple[str, int]:
        return await asyncio.wait_for(self.rung.get(), 60)


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def objects(db: Database, bell: Bell) -> Objects:
    made = Objects(db)
    made.register(Counter, bell)
    return made


@pytest.fixture
async def running(objects: Objects) -> AsyncIterator[Objects]:
    task = asyncio.create_task(objects.clock.run())
    yield objects
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_method_is_awaited_like_a_local_one_and_keeps_its_state(objects: Objects) -> None:
    await objects.get(Counter, "a").add(2)

    assert await objects.get(Counter, "a").add(3) == 5
    assert await objects.get(Counter, "b").add(1) == 1


async def test_concurrent_calls_of_one_object_come_one_after_the_other(objects: Objects) -> None:
    totals = await asyncio.gather(*(objects.get(Counter, "a").add(1) for _ in range(50)))

    assert sorted(totals) == list(range(1, 51))


async def test_an_exception_undoes_everything_the_transaction_did(objects: Objects) -> None:
    counter = objects.get(Counter, "a")
    await counter.add(1)

    with pytest.raises(RuntimeError):
        await counter.fail_after_adding()

    assert await counter.add(0) == 1
    assert await alarm_in(counter) is None


async def test_a_cancelled_caller_does_not_leave_half_a_transaction(objects: Objects) -> None:
    counter = objects.get(Counter, "a")
    call = asyncio.create_task(counter.add(1))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert await counter.add(0) in {0, 1}


async def test_storage_lists_by_prefix_in_order(objects: Objects) -> None:
    def fill(_: Counter, storage: ObjectStorage) -> dict[str, object]:
        for key in ("b%2", "a", "b%1", "c"):
            storage.put(key, {"key": key})
        storage.delete("c")
        return storage.list("b%")

    found = await run_in_object(objects.get(Counter, "a"), fill)

    assert list(found.items()) == [("b%1", {"key": "b%1"}), ("b%2", {"key": "b%2"})]


async def test_ids_of_objects_with_values_or_alarms_are_listed(objects: Objects) -> None:
    await objects.get(Counter, "b").add(1)
    await objects.get(Counter, "a").ring_in(60_000)
    objects.get(Counter, "never written")

    assert await list_object_ids(objects, Counter) == ["a", "b"]


async def test_delete_all_leaves_nothing(objects: Objects) -> None:
    counter = objects.get(Counter, "a")
    await counter.add(1)
    await counter.ring_in(60_000)

    await run_in_object(counter, lambda _, storage: storage.delete_all())

    assert await counter.add(0) == 0
    assert await alarm_in(counter) is None


async def test_an_alarm_rings_when_it_is_due(running: Objects, bell: Bell) -> None:
    await running.get(Counter, "a").ring_in(20)

    assert await bell.next() == ("a", 0)
    assert await alarm_in(running.get(Counter, "a")) is None


async def test_setting_the_alarm_again_replaces_it(running: Objects, bell: Bell) -> None:
    await running.get(Counter, "a").ring_in(60_000)
    await running.get(Counter, "a").ring_in(10)

    assert await bell.next() == ("a", 0)
    assert bell.rung.empty()


async def test_a_failed_alarm_is_tried_again_with_back_off(
    objects: Objects, bell: Bell, db: Database
) -> None:
    bell.failures = 1
    counter = objects.get(Counter, "a")
    await counter.ring_in(0)

    await objects.clock.ring_due()
    assert await bell.next() == ("a", 0)
    await _settled(objects)

    delay = await alarm_in(counter)
    assert delay is not None
    assert 1.5 < delay <= 2.0


async def test_an_alarm_is_given_up_after_six_retries(objects: Objects, bell: Bell) -> None:
    bell.failures = 100
    counter = objects.get(Counter, "a")
    await counter.ring_in(0)

    delays = []
    for _ in range(7):
        await objects.clock.ring_due()
        await bell.next()
        await _settled(objects)
        delays.append(await alarm_in(counter))
        await _make_due(objects, "a")

    assert [round(delay) for delay in delays if delay is not None] == [2, 4, 8, 16, 32, 64]
    assert delays[-1] is None


async def test_an_alarm_that_was_ringing_when_the_process_died_rings_again(
    objects: Objects, bell: Bell, db: Database
) -> None:
    await objects.get(Counter, "a").ring_in(0)
    hang = asyncio.Event()
    dying = Objects(db)
    dying.register(Counter, lambda *_: hang.wait())
    await dying.clock.ring_due()

    await objects.clock.recover()
    await objects.clock.ring_due()

    assert await bell.next() == ("a", 0)
    hang.set()
    await _settled(dying)
    await _settled(objects)


async def test_an_alarm_set_while_it_rings_is_kept(objects: Objects, db: Database) -> None:
    async def rearm(target: Counter, retries: int) -> None:
        await target.ring_in(60_000)

    rearming = Objects(db)
    rearming.register(Counter, rearm)
    await rearming.get(Counter, "a").ring_in(0)

    await rearming.clock.ring_due()
    await _settled(rearming)

    delay = await alarm_in(objects.get(Counter, "a"))
    assert delay is not None
    assert delay > 50


async def test_run_object_alarm_rings_it_now_and_once(objects: Objects, bell: Bell) -> None:
    counter = objects.get(Counter, "a")
    await counter.ring_in(60_000)

    assert await run_object_alarm(counter)
    assert await bell.next() == ("a", 0)
    assert not await run_object_alarm(counter)


async def _settled(objects: Objects) -> None:
    await asyncio.gather(*objects.clock._tasks)


async def _make_due(objects: Objects, object_id: str) -> None:
    from kedge.db.tables import ObjectAlarm

    def change(session: object) -> None:
        row = session.get(ObjectAlarm, {"class_name": "Counter", "object_id": object_id})  # type: ignore[attr-defined]
        if row is not None:
            row.due_on = now_ms()

    await objects.db.write(change)
