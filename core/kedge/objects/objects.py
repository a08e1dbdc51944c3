"""All durable objects of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlmodel import select, union

from kedge.db.tables import ObjectAlarm, ObjectValue
from kedge.objects.alarms import AlarmClock
from kedge.objects.durable import DurableObject
from kedge.objects.storage import ObjectStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from kedge.db.engine import Database

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D", bound=DurableObject)


class Objects:
    """Knows the classes, hands out objects, and rings their alarms while `clock` runs."""

    def __init__(self, db: Database, node: str = "") -> None:
        """Keep everything in `db`; `node` is this one's name."""
        self.db = db
        self.clock = AlarmClock(db, self._ring, node)
        self._classes: dict[str, tuple[type[DurableObject], Any]] = {}

    def register(self, cls: type[DurableObject], services: Any = None) -> None:
        """Make a class known; its objects get `services`."""
        self._classes[cls.class_name] = (cls, services)

    def get(self, cls: type[D], object_id: str) -> D:
        """The object of that id. Making a handle writes nothing."""
        return cls(self, object_id, self._classes[cls.class_name][1])

    async def transact(
        self,
        target: D,
        method: Callable[Concatenate[D, ObjectStorage, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `method` with the object's storage as one transaction."""

        def run(session: Session) -> T:
            storage = self.storage(session, type(target), target.id)
            storage.lock()
            return method(target, storage, *args, **kwargs)

        return await self.db.write(run)

    def storage(self, session: Session, cls: type[DurableObject], object_id: str) -> ObjectStorage:
        """An object's storage inside a transaction that some other code has begun."""
        return ObjectStorage(session, cls.class_name, object_id, alarm_set=self.clock.wake)

    async def list_ids(self, cls: type[DurableObject]) -> list[str]:
        """The ids of the objects of a class that keep a value or have an alarm, sorted."""

        def query(session: Session) -> list[str]:
            values = select(ObjectValue.object_id).where(ObjectValue.class_name == cls.class_name)
            alarms = select(ObjectAlarm.object_id).where(ObjectAlarm.class_name == cls.class_name)
            return sorted(session.execute(union(values, alarms)).scalars())

        return await self.db.read(query)

    async def _ring(self, class_name: str, object_id: str, retries: int) -> None:
        cls, _ = self._classes[class_name]
        await self.get(cls, object_id).alarm(retries)
