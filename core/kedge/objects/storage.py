"""What an object keeps: values by key and one alarm, within the transaction under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, text, update
from sqlmodel import col, select

from kedge.db.engine import after_commit
from kedge.db.tables import ObjectAlarm, ObjectValue
from kedge.db.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session


_THIS_ALARM = (
    col(ObjectAlarm.class_name) == bindparam("class"),
    col(ObjectAlarm.object_id) == bindparam("object"),
)
FIND_ALARM = select(ObjectAlarm.due_on).where(*_THIS_ALARM)
DELETE_ALARM = (
    delete(ObjectAlarm)
    .where(*_THIS_ALARM, col(ObjectAlarm.ringing_until).is_(None))
    .execution_options(synchronize_session=False)
)
UNSET_RINGING_ALARM = (
    update(ObjectAlarm)
    .where(*_THIS_ALARM, col(ObjectAlarm.ringing_until).is_not(None))
    .values(due_on=None, retries=0)
    .execution_options(synchronize_session=False)
)


class ObjectStorage:
    """The storage of one object. Valid only inside the transaction that it was made for."""

    def __init__(
        self, session: Session, class_name: str, object_id: str, *, alarm_set: Callable[[int], None]
    ) -> None:
        """`alarm_set` is called after the commit with the moment an alarm was set to."""
        self.session = session
        self._key = {"class_name": class_name, "object_id": object_id}
        self._alarm = {"class": class_name, "object": object_id}
        self._alarm_set = alarm_set

    def lock(self) -> None:
        """Keep other nodes' transactions on this object waiting until this one ends."""
        if self.session.get_bind().dialect.name == "postgresql":
            name = f"{self._key['class_name']}/{self._key['object_id']}"
            self.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:n, 0))"), {"n": name})

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        row = self.session.get(ObjectValue, {**self._key, "key": key})
        return default if row is None else row.value

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value under `key`."""
        upsert(self.session, ObjectValue, {**self._key, "key": key, "value": value}, change={"value"})

    def delete(self, key: str) -> None:
        """Remove `key`; a missing one is no error."""
        self.session.execute(delete(ObjectValue).filter_by(**self._key, key=key))

    def delete_all(self) -> None:
        """Remove every value and the alarm."""
        self.session.execute(delete(ObjectValue).filter_by(**self._key))
        self.delete_alarm()

    def list(self, prefix: str = "") -> dict[str, Any]:
        """The values whose key starts with `prefix`, ordered by key."""
        rows = self.session.exec(
            select(ObjectValue)
            .filter_by(**self._key)
            .where(col(ObjectValue.key).startswith(prefix, autoescape=True))
            .order_by(ObjectValue.key)
        )
        return {row.key: row.value for row in rows}

    def get_alarm(self) -> int | None:
        """When the alarm is set to ring (milliseconds), or `None`; one that rings now is not set."""
        return self.session.execute(FIND_ALARM, self._alarm).scalar_one_or_none()

    def set_alarm(self, due_on: int) -> None:
        """Set the alarm, replacing the one that was set."""
        upsert(
            self.session,
            ObjectAlarm,
            {**self._key, "due_on": due_on, "retries": 0},
            change={"due_on", "retries"},
        )
        after_commit(self.session, lambda: self._alarm_set(due_on))

    def delete_alarm(self) -> None:
        """Unset the alarm; one that rings now goes on ringing."""
        self.session.execute(DELETE_ALARM, self._alarm)
        self.session.execute(UNSET_RINGING_ALARM, self._alarm)
