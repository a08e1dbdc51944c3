from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlmodel import Session, SQLModel, select

from kedge.db.engine import Database
from kedge.db.postgresql import lock_migrations
from kedge.db.schema import SchemaTooNew, newest_revision, upgrade
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


async def test_a_node_that_dies_while_it_migrates_holds_up_no_other(postgresql_url: str) -> None:
    dying, other = Database(postgresql_url), Database(postgresql_url)
    connection = dying.engine.connect()
    lock_migrations(connection)
    backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    # half of what it would do
    connection.execute(text("CREATE TABLE worker (id text)"))
    waiting = asyncio.create_task(asyncio.to_thread(upgrade, other.engine))
    await asyncio.to_thread(_until_one_waits_for_the_lock, other)

    with other.engine.begin() as admin:
        admin.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})
    await waiting

    with other.engine.connect() as looking:
        assert compare_metadata(MigrationContext.configure(looking), SQLModel.metadata) == []
    connection.invalidate()
    connection.close()
    await dying.close()
    await other.close()


def _until_one_waits_for_the_lock(db: Database) -> None:
    query = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    end = time.monotonic() + 20
    with db.engine.connect() as connection:
        while not connection.execute(query).scalar_one():
            assert time.monotonic() < end, "nobody waits"
            time.sleep(0.02)


async def test_a_newer_database_is_refused_with_what_to_do(empty: Database) -> None:
    upgrade(empty.engine)
    with empty.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaTooNew, match="start the newer Kedge, or restore a backup"):
        upgrade(empty.engine)
