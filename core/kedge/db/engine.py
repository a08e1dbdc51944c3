"""The one way to the database: whole transactions, run in threads, never on the event loop."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from kedge.db import postgresql, sqlite
from kedge.errors import InvalidInput, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection, Engine

P = ParamSpec("P")
T = TypeVar("T")

AFTER_COMMIT = "kedge_after_commit"
READERS = 2
#: threads and connections on PostgreSQL, where transactions run side by side
POSTGRESQL_WRITERS, POSTGRESQL_READERS = 6, 4
#: a transaction that met others is tried this often in all
TRIES = 10
#: a server that restarts is waited for
PATIENCE_SECONDS = 5.0


def database_url(database: str, data_dir: Path) -> str:
    """The SQLAlchemy URL for the setting `database`: `sqlite` means a file in the data dir."""
    return f"sqlite:///{data_dir / 'kedge.db'}" if database == "sqlite" else database


class Database:
    """Runs transactions.

    A transaction is a plain function that takes a `Session`; it runs whole in a thread, so it cannot
    wait for anything outside the database. With SQLite every write goes through one writer thread:
    writes never wait for a lock, and reads never wait for writes. On PostgreSQL many run side by side with
    the same promise, for they are serializable: one that met another is undone and run again, so it must
    not do anything that an undone transaction leaves behind.
    """

    def __init__(self, url: str) -> None:
        """Open nothing yet."""
        self.engine: Engine = _create_engine(url)
        #: whether other nodes may use it too
        self.shared = self.engine.dialect.name == "postgresql"
        self._row_engine, self._read_engine = self.engine, self.engine
        writers, readers = 1, READERS
        if self.shared:
            writers, readers = POSTGRESQL_WRITERS, POSTGRESQL_READERS
            self._row_engine = self.engine.execution_options(isolation_level="READ COMMITTED")
            self._read_engine = self.engine.execution_options(postgresql_readonly=True)
        self._writer = ThreadPoolExecutor(writers, thread_name_prefix="kedge-db-writer")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="kedge-db-reader")

    async def write(
        self, transaction: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `transaction(session, …)`, commit, then call what it registered by `after_commit`.

        An exception rolls everything back and is raised here. Once begun, a transaction is carried
        through even if the caller is cancelled.
        """
        return await self._write(self.engine, transaction, args, kwargs)

    async def write_rows(
        self, transaction: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, for a transaction that locks the rows whose state it relies on.

        PostgreSQL then need not watch what else it has read, so that none is ever tried again for others'
        sake.
        """
        return await self._write(self._row_engine, transaction, args, kwargs)

    async def _write(
        self, engine: Engine, transaction: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        loop = asyncio.get_running_loop()
        result, callbacks = await loop.run_in_executor(
            self._writer, _run_until_done, engine, transaction, args, kwargs, True
        )
        for callback in callbacks:
            callback()
        return result

    async def read(self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query(session, …)` on one consistent snapshot; it must not write."""
        loop = asyncio.get_running_loop()
        result, _ = await loop.run_in_executor(
            self._readers, _run_until_done, self._read_engine, query, args, kwargs, False
        )
        return result

    async def close(self) -> None:
        """Finish what is under way and let go of every connection."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call `callback` on the event loop once the transaction has been committed; not if it fails."""
    session.info.setdefault(AFTER_COMMIT, []).append(callback)


def _run_until_done(
    engine: Engine,
    transaction: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    write: bool,  # noqa: FBT001  (run_in_executor passes positions only)
) -> tuple[T, list[Callable[[], None]]]:
    met, give_up = 0, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _run(engine, transaction, args, kwargs, write)
        except DBAPIError as error:
            met += 1
            if engine.dialect.name == "sqlite":
                _refuse(error)
            if postgresql.has_nul(error):
                raise InvalidInput("a text holds the character NUL, which cannot be kept") from error
            if postgresql.is_away(error):
                if time.monotonic() > give_up:
                    raise StoreUnavailable("PostgreSQL does not answer: see that it runs") from error
            elif not postgresql.may_try_again(error) or met == TRIES:
                raise
        time.sleep(random.uniform(0, min(0.002 * 2**met, 0.5)))  # noqa: S311


def _refuse(error: DBAPIError) -> NoReturn:
    reason = sqlite.why_unavailable(error)
    if reason is None:
        raise error
    raise StoreUnavailable(reason) from error


def _run(
    engine: Engine,
    transaction: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    write: bool,  # noqa: FBT001  (run_in_executor passes positions only)
) -> tuple[T, list[Callable[[], None]]]:
    with engine.connect() as connection, Session(connection, expire_on_commit=False) as session:
        if write and engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        result = transaction(session, *args, **kwargs)
        if write:
            _commit(session, connection)
        else:
            # to roll back would have the driver forget the statements that it has prepared
            connection.commit()
        return result, session.info.get(AFTER_COMMIT, [])


def _commit(session: Session, connection: Connection) -> None:
    session.flush()
    try:
        session.commit()
        connection.commit()
    except DBAPIError as error:
        if connection.dialect.name == "postgresql" and postgresql.is_away(error):
            # Not to be tried again: it may have been kept.
            raise StoreUnavailable("PostgreSQL went away while it was told to keep something") from error
        raise


def _create_engine(url: str) -> Engine:
    if url.startswith("sqlite"):
        return sqlite.connect(url, connections=READERS + 1)
    # two more: a node holds the database by one, and migrates by another
    return postgresql.connect(url, connections=POSTGRESQL_WRITERS + POSTGRESQL_READERS + 2)
