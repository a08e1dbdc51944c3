from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, text
from sqlmodel import Session, SQLModel, select

from kedge.db.engine import Database
from kedge.db.schema import MIGRATIONS, SchemaTooNew, newest_revision, upgrade
from kedge.db.tables import Build, Trigger

if TYPE_CHECKING:
    from pathlib import Path


REVISIONS = sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'kedge.db'}"


async def test_from_empty_the_migrations_make_exactly_the_tables(url: str) -> None:
    db = Database(url)
    upgrade(db.engine, REVISIONS[0])
    upgrade(db.engine)

    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    await db.close()


async def test_an_empty_database_gets_what_all_migrations_together_make(tmp_path: Path) -> None:
    made, migrated = Database(f"sqlite:///{tmp_path}/made.db"), Database(f"sqlite:///{tmp_path}/migrated.db")
    upgrade(made.engine)
    upgrade(migrated.engine, REVISIONS[0])
    upgrade(migrated.engine)

    assert schema_of(made) == schema_of(migrated)
    await made.close()
    await migrated.close()


def schema_of(db: Database) -> dict[str, dict[str, list[tuple[object, ...]]]]:
    """Every table with its columns, indexes and foreign keys, in no order."""
    with db.engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars()
        tables = {}
        for name in names.all():
            parts = {}
            for pragma in ("table_info", "index_list", "foreign_key_list"):
                rows = connection.exec_driver_sql(f"PRAGMA {pragma}('{name}')")
                parts[pragma] = sorted((tuple(row)[1:] for row in rows), key=repr)
            indexes = (
                "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?"
            )
            parts["indexes"] = sorted(tuple(row) for row in connection.exec_driver_sql(indexes, (name,)))
            tables[name] = parts
    return tables


async def test_every_revision_leads_to_the_newest_with_its_rows_kept(tmp_path: Path) -> None:
    for revision in REVISIONS:
        db = Database(f"sqlite:///{tmp_path / revision}.db")
        upgrade(db.engine, revision)
        with db.engine.begin() as connection:
            connection.execute(text("INSERT INTO account (id, name, created_on) VALUES ('a', 'default', 1)"))
        upgrade(db.engine)
        with db.engine.connect() as connection:
            assert connection.execute(text("SELECT name FROM account")).scalar() == "default"
        await db.close()


async def test_triggers_and_builds_of_the_first_schema_get_what_came_with_the_cache(url: str) -> None:
    db = Database(url)
    upgrade(db.engine, "0001")
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for table, row in OLD_ROWS.items():
            names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)  # noqa: S608
        connection.commit()

    upgrade(db.engine)

    with Session(db.engine) as session:
        assert session.exec(select(Trigger)).one().build_caches == []
        assert session.exec(select(Build)).one().trusted is True
    await db.close()


OLD_ROWS: dict[str, dict[str, object]] = {
    "build_trigger": {
        "uuid": "t",
        "account_id": "a",
        "worker_id": "w",
        "repo_connection_uuid": "r",
        "name": "production",
        "build_command": "make",
        "deploy_command": "",
        "root_directory": "/",
        "branch_includes": "[]",
        "branch_excludes": "[]",
        "path_includes": "[]",
        "path_excludes": "[]",
        "build_caching_enabled": True,
        "created_on": 1,
        "modified_on": 1,
    },
    "build": {
        "build_uuid": "b",
        "account_id": "a",
        "worker_id": "w",
        "trigger_uuid": "t",
        "forge": "git",
        "delivery_id": "d",
        "status": "stopped",
        "source": "push",
        "branch": "main",
        "commit_hash": "c",
        "commit_message": "",
        "author": "",
        "is_production": True,
        "snapshot": "{}",
        "attempt": 1,
        "infrastructure_retries": 0,
        "not_before": 0,
        "cancel_requested": False,
        "created_on": 1,
        "modified_on": 1,
    },
}


async def test_a_database_at_the_newest_schema_is_left_alone(url: str) -> None:
    db = Database(url)
    upgrade(db.engine)
    with db.engine.begin() as connection:
        connection.execute(text("INSERT INTO account (id, name, created_on) VALUES ('a', 'default', 1)"))
    executed: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *arguments: executed.append(arguments[2]))

    upgrade(db.engine)

    assert [one for one in executed if not one.lstrip().startswith(("SELECT", "PRAGMA"))] == []
    with db.engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM account")).scalar() == "default"
    await db.close()


async def test_a_newer_database_is_refused_with_what_to_do(url: str) -> None:
    db = Database(url)
    upgrade(db.engine)
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(
        SchemaTooNew, match=rf"schema 9999, this Kedge knows up to {newest_revision()}.*backup"
    ):
        upgrade(db.engine)
    await db.close()
