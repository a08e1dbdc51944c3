"""A database that Kedge cannot run on is refused at the start, in words that say what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from tests.conftest import skip

from kedge.db import postgresql
from kedge.db.engine import Database
from kedge.db.postgresql import DatabaseUnusable
from kedge.db.schema import upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

    from kedge.testing.postgresql import PostgreSQL

PASSWORD = "hunter2"
POOLER = """
[databases]
* = {server}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
"""


def refusal(url: str | URL) -> str:
    """What starting on this database says."""
    shown = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    database = Database(shown)
    try:
        with pytest.raises(DatabaseUnusable) as refused:
            upgrade(database.engine)
    finally:
        database._close()
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def run(url: str, *statements: str) -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
        connection.commit()
    database._close()


@pytest.fixture
def stranger(postgresql_url: str) -> Iterator[URL]:
    """The database for a user who owns nothing of it."""
    run(postgresql_url, f"CREATE ROLE kedge_stranger LOGIN PASSWORD '{PASSWORD}'")
    yield make_url(postgresql_url).set(username="kedge_stranger", password=PASSWORD)
    run(postgresql_url, "DROP OWNED BY kedge_stranger", "DROP ROLE kedge_stranger")


def test_a_server_that_is_not_there() -> None:
    said = refusal(f"postgresql://kedge:{PASSWORD}@127.0.0.1:1/kedge")
    assert "127.0.0.1:1/kedge cannot be used" in said
    assert "Check that the server runs" in said


def test_a_password_in_the_parameters_is_not_shown_either() -> None:
    said = refusal(f"postgresql:///kedge?host=127.0.0.1&port=1&user=kedge&password={PASSWORD}")
    assert "host=127.0.0.1" in said


@pytest.mark.parametrize("url", ["postgresql://kedge:hunter2@host:port/kedge", "postgresql:kedge:hunter2"])
def test_what_is_no_url_is_not_repeated(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match="is no URL such as") as refused:
        Database(url)
    assert PASSWORD not in str(refused.value)


def test_a_database_that_does_not_exist(postgresql_url: str) -> None:
    said = refusal(make_url(postgresql_url).set(database="nowhere"))
    assert 'database "nowhere" does not exist' in said
    assert "database name in the setting" in said


def test_a_wrong_password(stranger: URL, postgresql_server: PostgreSQL) -> None:
    postgresql_server.ask_for_password("kedge_stranger")
    said = refusal(stranger.set(password="hunter2-wrong"))
    assert "password authentication failed" in said
    assert "password" in said.partition("Check")[2]


def test_a_user_who_may_not_make_tables(stranger: URL) -> None:
    said = refusal(stranger)
    assert "permission denied" in said
    assert f'run ALTER DATABASE "{stranger.database}" OWNER TO "kedge_stranger"' in said


def test_a_user_who_may_not_read_the_tables_of_another(stranger: URL, postgresql_url: str) -> None:
    owners = Database(postgresql_url)
    upgrade(owners.engine)
    owners._close()
    assert "permission denied" in refusal(stranger)


def test_a_server_that_is_too_old(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "OLDEST", 99)
    assert "Kedge needs 99 or newer" in refusal(postgresql_url)


@contextmanager
def pooler(url: str, mode: str) -> Iterator[URL]:
    """A PgBouncer before the server of `url`."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if found is None:
        skip("pgbouncer is not installed")
    server = make_url(url)
    where = {"host": str(server.query.get("host", server.host)), "user": server.username or "postgres"}
    where |= {"password": server.password} if server.password else {}
    with tempfile.TemporaryDirectory(prefix="kedge-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        config = folder / "pgbouncer.ini"
        line = " ".join(f"{key}={value}" for key, value in where.items())
        config.write_text(POOLER.format(server=line, folder=folder, mode=mode))
        # it refuses to run as root, and has to enter the folder of the server's socket
        socket_folder = Path(where["host"])
        user = ["-u", socket_folder.owner()] if os.geteuid() == 0 and socket_folder.is_dir() else []
        process = subprocess.Popen([found, "-q", *user, str(config)], stderr=subprocess.DEVNULL)
        try:
            _wait_until_it_listens(folder / ".s.PGSQL.6432")
            yield make_url(f"postgresql:///{server.database}?host={folder}&port=6432")
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_it_listens(path: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(path))
            return
        time.sleep(0.02)
    raise AssertionError("pgbouncer does not start")


def test_a_pooler_that_changes_the_session(postgresql_url: str) -> None:
    with pooler(postgresql_url, "transaction") as url:
        said = refusal(url)
    assert "name the server itself, or a pool with pool_mode = session" in said


def test_a_pooler_that_keeps_the_session_will_do(postgresql_url: str) -> None:
    with pooler(postgresql_url, "session") as url:
        database = Database(url.render_as_string(hide_password=False))
        upgrade(database.engine)
        database._close()
