"""Insert or, where the key is taken, change: one statement on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlmodel import Session, SQLModel


def upsert(session: Session, table: type[SQLModel], values: dict[str, Any], *, change: set[str]) -> None:
    """Insert `values`; if the primary key exists, set only the columns in `change`."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**values)
    keys = [column.name for column in inspect(table).primary_key]
    session.execute(
        statement.on_conflict_do_update(index_elements=keys, set_={name: values[name] for name in change})
    )
