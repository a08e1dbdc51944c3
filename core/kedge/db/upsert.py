"""Insert or, where the key is taken, change: one statement on SQLite and on PostgreSQL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sqlalchemy import Executable
    from sqlmodel import Session


def upsert(
    session: Session, table: type[SQLModel], values: dict[str, Any], *, change: AbstractSet[str]
) -> None:
    """Insert `values`; if the primary key exists, set only the columns in `change`."""
    dialect = session.get_bind().dialect.name
    session.execute(_statement(dialect, str(table.__tablename__), frozenset(change)), values)


@cache
def _statement(dialect: str, name: str, change: frozenset[str]) -> Executable:
    table = SQLModel.metadata.tables[name]
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    keys = [column.name for column in table.primary_key]
    update = {name: insert.excluded[name] for name in change}
    statement: Executable = insert.on_conflict_do_update(index_elements=keys, set_=update)
    return statement
