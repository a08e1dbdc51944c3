from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import Session, SQLModel, select

from kedge.db.engine import Database
from kedge.db.schema import newest_revision, upgrade
from kedge.db.tables import Account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def empty(postgresql_url: str) -> AsyncIterator[Database]:
    database = Database(postgresql_url)
    yield database
    await database.close()


@pytest.mark.parametrize("first", ["0001", "head"])
async def test_migrations_and_creation_make_exactly_the_tables(empty: Database, first: str) -> None:
    upgrade(empty.engine, first)
    upgrade(empty.engine)

    collations = text(
        "SELECT DISTINCT collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'character varying' "
        "AND table_name != 'alembic_version'"
    )
    with empty.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
        assert connection.execute(collations).scalars().all() == ["C"]


@pytest.mark.parametrize("first", [None, "0001"])
async def test_nodes_that_start_together_migrate_once(postgresql_url: str, first: str | None) -> None:
    databases = [Database(postgresql_url) for _ in range(4)]
    if first is not None:
        upgrade(databases[0].engine, first)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, [database.engine for database in databases]))

    with databases[0].engine.connect() as connection:
        versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    assert versions == [newest_revision()]
    for database in databases:
        await database.close()


def count_up(session: Session) -> None:
    account = session.exec(select(Account)).one()
    account.created_on += 1
    session.add(account)


async def test_of_transactions_side_by_side_none_is_lost(empty: Database) -> None:
    upgrade(empty.engine)
    await empty.write(lambda session: session.add(Account(id="a", name="a", created_on=2**40)))

    await asyncio.gather(*(empty.write(count_up) for _ in range(20)))

    assert await empty.read(lambda session: session.exec(select(Account.created_on)).one()) == 2**40 + 20
