"""What is different on PostgreSQL: how to connect, what to try again, what to say if it does not answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

OLDEST = 15
CONNECT_SECONDS = 10
STATEMENT_MS = 30_000
#: a server that is gone is noticed within half a minute
OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "kedge",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}
#: any fixed number, the same for every node
MIGRATION_LOCK = 5_333_461
#: serialization failure, deadlock
TRIED_AGAIN = frozenset({"40001", "40P01"})
#: shut down by an administrator or after a crash, starting up
GONE = frozenset({"57P01", "57P02", "57P03"})
#: what a user may not do
FORBIDDEN = "42501"
#: looks for a pooler, should somebody else take the session just then
POOLER_TRIES = 3
#: parameters of a URL that may be repeated
SHOWN = frozenset({"host", "port", "dbname", "user", "sslmode", "target_session_attrs"})
TEXT_TYPE = re.compile(r"\bVARCHAR(\(\d+\))?")


class DatabaseUnusable(KedgeError):
    """The database cannot be reached, or Kedge cannot run on it."""

    code = 10301


class _Ddl(PGDDLCompiler):
    """Texts sort by their bytes, as in SQLite, whatever the database was created with."""

    def get_column_specification(self, column: Any, **kwargs: Any) -> str:
        specification: str = super().get_column_specification(column, **kwargs)  # type: ignore[no-untyped-call]
        return TEXT_TYPE.sub(r'\g<0> COLLATE "C"', specification, count=1)


def connect(url: str, *, connections: int) -> Engine:
    """An engine for a `postgresql://` URL. Raises `DatabaseUnusable` if it cannot be understood."""
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(
            'the setting "database" is no URL such as "postgresql://user:password@host:5432/name"; '
            "special characters in the password are written as %XX"
        ) from None
    engine = create_engine(
        parsed,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        isolation_level="SERIALIZABLE",
        connect_args=OPTIONS,
    )
    engine.dialect.ddl_compiler = _Ddl
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    for setting in (f"statement_timeout = {STATEMENT_MS}", "idle_in_transaction_session_timeout = 60000"):
        connection.execute(f"SET {setting}")
    connection.commit()


def check(engine: Engine) -> None:
    """Raise `DatabaseUnusable`, with what to do, unless the server answers and Kedge can run on it."""
    where = name_of(engine)
    try:
        with engine.connect() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
            copies = connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one()
            pooled = _changes_sessions(engine, connection)
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        raise DatabaseUnusable(
            f"PostgreSQL at {where} cannot be used: {reason}. Check that the server runs, and the host, "
            'port, user, password and database name in the setting "database"'
        ) from None
    if version < OLDEST * 10_000:
        raise DatabaseUnusable(
            f"PostgreSQL at {where} is version {version // 10_000}: Kedge needs {OLDEST} or newer"
        )
    if copies:
        raise DatabaseUnusable(f"PostgreSQL at {where} is a copy that only reads: name the primary")
    if pooled:
        raise DatabaseUnusable(
            f"PostgreSQL at {where} is behind a pooler that changes the session between transactions, where "
            "LISTEN and locks do not last: name the server itself, or a pool with pool_mode = session"
        )


def name_of(engine: Engine) -> str:
    """Which database it is, without a password, wherever that was written."""
    query = {name: value for name, value in engine.url.query.items() if name in SHOWN}
    return engine.url.set(drivername="postgresql", query=query).render_as_string(hide_password=True)


def _changes_sessions(engine: Engine, connection: Connection) -> bool:
    """Whether a pooler stands before the server and gives a session to whoever has a transaction.

    A session between two transactions is then lent to the next who comes.
    """
    if _told_backend(connection) == _backend(connection):
        return False
    for _ in range(POOLER_TRIES):
        mine = _backend(connection)
        connection.rollback()
        with engine.connect() as other:
            if _backend(other) == mine:
                return True
    return False


def _told_backend(connection: Connection) -> int:
    """The server's process, as the connection was told when it was made; a pooler makes one up."""
    driver: Any = connection.connection.driver_connection
    return int(driver.info.backend_pid)


def _backend(connection: Connection) -> int:
    """The server's process that answers now."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def may_not(engine: Engine, error: DBAPIError) -> DatabaseUnusable | None:
    """What to do if the user of the database may not do what Kedge needs."""
    if getattr(error.orig, "sqlstate", None) != FORBIDDEN:
        return None
    reason, user = str(error.orig).splitlines()[0], engine.url.username or "USER"
    return DatabaseUnusable(
        f"PostgreSQL at {name_of(engine)} refuses: {reason}. Kedge makes and owns its tables: run "
        f'ALTER DATABASE "{engine.url.database}" OWNER TO "{user}" as an administrator, or name its owner'
    )


def lock_migrations(connection: Connection) -> None:
    """Wait until no other node migrates; until `connection` is closed, none will."""
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": MIGRATION_LOCK})
    connection.commit()


def unlock_migrations(connection: Connection) -> None:
    """Let the next node look, and give the connection back as it was."""
    connection.rollback()
    connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": MIGRATION_LOCK})
    connection.execute(text(f"SET statement_timeout = {STATEMENT_MS}"))
    connection.commit()


def has_nul(error: DBAPIError) -> bool:
    """Whether a text was given that holds the one character which PostgreSQL does not keep."""
    return isinstance(error, DataError) and "NUL" in str(error.orig)


def may_try_again(error: DBAPIError) -> bool:
    """Whether the transaction only met another one."""
    return getattr(error.orig, "sqlstate", None) in TRIED_AGAIN


def is_away(error: DBAPIError) -> bool:
    """Whether the server could not be reached, or went away."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state[:2] == "08" or state in GONE
    return error.connection_invalidated or isinstance(error, OperationalError)
