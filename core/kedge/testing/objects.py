"""Look into durable objects from a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kedge.db.clock import now_ms
from kedge.db.tables import ObjectAlarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from kedge.objects import DurableObject, Objects, ObjectStorage

T = TypeVar("T")
D = TypeVar("D", bound="DurableObject")


async def run_in_object(target: D, function: Callable[[D, ObjectStorage], T]) -> T:
    """Run `function(object, storage)` inside the object, as one transaction."""
    return await target.objects.transact(target, function)


async def run_object_alarm(target: DurableObject) -> bool:
    """Ring the object's alarm now, whenever it is due, and wait for it. False if none is set.

    An error of the alarm is raised here; the alarm is gone all the same.
    """

    def take(session: Session) -> bool:
        row = session.get(ObjectAlarm, {"class_name": target.class_name, "object_id": target.id})
        if row is None or row.due_on is None:
            return False
        session.delete(row)
        return True

    if not await target.objects.db.write(take):
        return False
    await target.alarm(retries=0)
    return True


async def list_object_ids(objects: Objects, cls: type[DurableObject]) -> list[str]:
    """The ids of the objects of a class that keep a value or have an alarm, sorted."""
    return await objects.list_ids(cls)


async def alarm_in(target: DurableObject) -> float | None:
    """Seconds until the object's alarm rings, or `None` if it is not set."""
    due = await target.objects.transact(target, lambda _, storage: storage.get_alarm())
    return None if due is None else (due - now_ms()) / 1000
