from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from kedge.db.engine import Database, after_commit
from kedge.db.schema import upgrade
from kedge.db.tables import Account
from kedge.errors import InvalidInput, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlmodel import Session


def _add(session: Session, name: str) -> None:
    session.add(Account(id=name, name=name, created_on=1))


def _count(session: Session) -> int:
    count: int = session.connection().execute(text("SELECT count(*) FROM account")).scalar_one()
    return count


async def test_what_is_written_is_read_afterwards(db: Database) -> None:
    await db.write(_add, "a")

    assert await db.read(_count) == 1


async def test_a_failed_transaction_leaves_nothing_and_calls_nothing_back(db: Database) -> None:
    called = []

    def fail(session: Session) -> None:
        _add(session, "a")
        after_commit(session, lambda: called.append(1))
        session.flush()
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(fail)

    assert await db.read(_count) == 0
    assert called == []


async def test_after_a_commit_callbacks_run_on_the_event_loop(db: Database) -> None:
    threads: list[threading.Thread] = []
    await db.write(lambda session: after_commit(session, lambda: threads.append(threading.current_thread())))

    assert threads == [threading.current_thread()]


async def test_transactions_run_beside_the_event_loop(db: Database) -> None:
    assert await db.write(lambda _: threading.current_thread()) is not threading.current_thread()


async def test_a_read_is_not_held_up_by_a_long_write(db: Database) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(session: Session) -> None:
        _add(session, "a")
        session.flush()
        begun.set()
        end.wait(10)

    write = asyncio.create_task(db.write(slow))
    await asyncio.to_thread(begun.wait, 10)

    assert await asyncio.wait_for(db.read(_count), 60) == 0
    end.set()
    await write
    assert await db.read(_count) == 1


async def test_a_nul_character_is_refused_in_words_or_kept(db: Database) -> None:
    if db.shared:
        with pytest.raises(InvalidInput, match="NUL"):
            await db.write(_add, "a\0b")
        return
    await db.write(_add, "a\0b")
    assert await db.read(_count) == 1


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database in a file."""
    database = Database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(database.engine)
    yield database
    await database.close()


@pytest.mark.parametrize(
    ("pragma", "advice"),
    [("max_page_count = 1", "the disk is full"), ("query_only = on", "cannot be written: see to its perm")],
)
async def test_what_keeps_sqlite_from_writing_is_told_in_its_own_words_at_once(
    sqlite: Database, pragma: str, advice: str
) -> None:
    tries = []

    def fill(session: Session) -> None:
        tries.append(1)
        session.connection().exec_driver_sql(f"PRAGMA {pragma}")
        _add(session, "a" * 1_000_000)

    with pytest.raises(StoreUnavailable, match=advice):
        await sqlite.write(fill)

    assert tries == [1]
    assert await sqlite.read(_count) == 0


async def test_a_mistake_in_a_statement_is_not_called_an_outage(sqlite: Database) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await sqlite.read(lambda session: session.connection().exec_driver_sql("SELECT 1 FROM never_made"))


def test_a_node_that_has_its_database_for_itself_loads_no_driver_for_another(tmp_path: Path) -> None:
    """psycopg takes an eighth of a second to load, in which a node that starts answers nobody."""
    program = (
        "import asyncio, sys; from kedge.db.bus import Bus; from kedge.db.engine import Database\n"
        f"bus = Bus(Database('sqlite:///{tmp_path / 'kedge.db'}'), 'a')\n"
        "asyncio.run(bus.open()); asyncio.run(bus.listen()); sys.exit('psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
