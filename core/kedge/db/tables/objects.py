"""What durable objects keep."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from typing import Any

from sqlalchemy import JSON, BigInteger
from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import optional_time_column


class ObjectValue(SQLModel, table=True):
    """One value of one durable object."""

    __tablename__ = "object_value"

    class_name: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    value: Any = Field(sa_type=JSON)


class ObjectAlarm(SQLModel, table=True):
    """The one alarm of a durable object.

    `due_on` is the alarm that is set. While an alarm rings, `ringing_for` holds the moment it was due
    and `ringing_until` the moment after which it counts as lost and rings again.
    """

    __tablename__ = "object_alarm"

    class_name: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    due_on: int | None = Field(default=None, sa_type=BigInteger, nullable=True, index=True)
    ringing_for: int | None = optional_time_column()
    ringing_until: int | None = Field(default=None, sa_type=BigInteger, nullable=True, index=True)
    retries: int = 0
    #: on which node it rings
    ringing_node: str | None = None
