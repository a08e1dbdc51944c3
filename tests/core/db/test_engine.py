from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from kedge.db.engine import after_commit
from kedge.db.tables import Account
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.db.engine import Database


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
