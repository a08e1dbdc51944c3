"""Brings a database to the schema that this version of Kedge needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from kedge.db import postgresql
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

#: alembic's own table, as alembic makes it
VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaTooNew(KedgeError):
    """The database was written by a newer Kedge."""

    code = 10300


def newest_revision() -> str:
    """The revision this version of Kedge needs; revisions are numbered, so the last file has it."""
    return max(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate to `revision`; nothing is done, or imported, if the database is there already.

    An empty database gets the newest tables without a step between. Raises `SchemaTooNew` for a revision
    this version does not know, `DatabaseUnusable` for a server that Kedge cannot run on. Each migration is
    one transaction; of nodes that start together on one PostgreSQL one migrates and the others wait.
    """
    if engine.dialect.name != "postgresql":
        with engine.connect() as connection:
            _upgrade(connection, revision)
        return
    postgresql.check(engine)
    with engine.connect() as connection:
        postgresql.lock_migrations(connection)
        try:
            _upgrade(connection, revision)
        except DBAPIError as error:
            refused = postgresql.may_not(engine, error)
            if refused is None:
                raise
            raise refused from None
        finally:
            postgresql.unlock_migrations(connection)


def _upgrade(connection: Connection, revision: str) -> None:
    present = _present_revision(connection)
    if present == newest_revision() and revision == "head":
        return
    if present is not None and present > newest_revision():
        raise SchemaTooNew(
            f"the database has schema {present}, this Kedge knows up to {newest_revision()}: "
            "start the newer Kedge, or restore a backup from before the upgrade"
        )
    if revision == "head" and not inspect(connection).get_table_names():
        _create(connection)
    else:
        _run_alembic(connection, revision)


def _create(connection: Connection) -> None:
    """Make the tables of an empty database at once, as all migrations together would, whole or not at all."""
    import kedge.db.tables  # noqa: F401, PLC0415  (fills the metadata)

    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    SQLModel.metadata.create_all(connection)
    VERSION.create(connection)
    connection.execute(VERSION.insert().values(version_num=newest_revision()))
    connection.commit()


def _present_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run_alembic(connection: Connection, revision: str) -> None:
    from alembic import command  # noqa: PLC0415  (takes a tenth of a second, seldom needed)

    command.upgrade(alembic_config(connection), revision)
    connection.commit()


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for work on `connection`."""
    from alembic.config import Config  # noqa: PLC0415  (as above)

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
