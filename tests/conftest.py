"""Every test starts from a clean environment and a fresh database."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, settings

from kedge.db.engine import Database
from kedge.db.schema import upgrade
from kedge.testing import ceph as ceph_kit
from kedge.testing import postgresql as postgresql_kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge.testing.ceph import Gateway
    from kedge.testing.postgresql import PostgreSQL

#: set where everything is installed, so that nothing is skipped unnoticed
NO_SKIPS = "TESTS_NEVER_SKIP"

#: these have a database and say nothing of it: unless asked for, they do without PostgreSQL
OF_NO_DATABASE = {
    "test_access.py",
    "test_autofill.py",
    "test_errors.py",
    "test_gateway.py",
    "test_openapi.py",
}

POSTGRESQL = os.environ.get("KEDGE_TEST_POSTGRESQL")
for _name in [name for name in os.environ if name.startswith(("KEDGE_", "GIT_", "WORKERS_CI"))]:
    del os.environ[_name]

# Hypothesis looks for CI itself: there it tries the same examples every time, so that a run fails for what
# was changed. Elsewhere they are new ones. A slow machine fails neither.
if "CI" not in os.environ:
    patient = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("patient", patient)
    settings.load_profile("patient")

# a suite that a script starts by `&` ignores them, and so would all that it starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _quiet_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the whole suite be run on either database, or on both."""
    choices = ("sqlite", "postgresql", "both", "where-they-differ")
    parser.addoption("--database", choices=choices, default="where-they-differ")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what touches the database on each that was asked for."""
    if "database_kind" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--database")
        if asked == "where-they-differ":
            asked = "sqlite" if metafunc.definition.path.name in OF_NO_DATABASE else "both"
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"] if asked == "both" else [asked])


def pytest_xdist_auto_num_workers() -> int | None:
    """More workers than processors: tests wait for nodes, engines and databases longer than they compute."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return len(os.sched_getaffinity(0)) + 2


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end, where failures are looked for, in which order the tests ran."""
    seed = config.getoption("randomly_seed", None)  # none where the order is not random
    if seed is not None:
        terminalreporter.write_line(f"order: -p randomly --randomly-seed={seed}")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """The server of `KEDGE_TEST_POSTGRESQL`, or one that ends with the run."""
    with postgresql_kit.server(POSTGRESQL) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: PostgreSQL) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the newest tables, to be copied: to make them takes as long as many a test."""
    file = tmp_path_factory.mktemp("sqlite") / "kedge.db"
    database = Database(f"sqlite:///{file}")
    upgrade(database.engine)
    database.engine.dispose()
    return file


@pytest.fixture
def migrated_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the test's own."""
    if database_kind == "sqlite":
        copy = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "kedge.db")
        yield f"sqlite:///{copy}"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    with server.migrated() as url:
        yield url


@pytest.fixture
async def db(migrated_url: str) -> AsyncIterator[Database]:
    """A migrated database of the test's own."""
    database = Database(migrated_url)
    upgrade(database.engine)
    yield database
    await database.close()


def skip(reason: str) -> NoReturn:
    """Leave a test out for want of a program, unless every program has to be there."""
    if os.environ.get(NO_SKIPS):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """An S3 gateway of Ceph, one for all workers of the run."""
    reason = ceph_kit.what_is_missing()
    if reason is not None:
        skip(reason)
    base = tmp_path_factory.getbasetemp()
    with ceph_kit.gateway((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ceph") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The Docker engine of this machine."""
    from tests.docker_engine import find_engine

    found = find_engine()
    if isinstance(found, str):
        skip(found)
    yield found
    found.client.close()
