"""Every test starts from a clean environment and a fresh database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest
import structlog

from kedge.db.engine import Database
from kedge.db.schema import upgrade
from kedge.testing import ceph as ceph_kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge.testing.ceph import Gateway

#: set where everything is installed, so that nothing is skipped unnoticed
NO_SKIPS = "TESTS_NEVER_SKIP"

for _name in [name for name in os.environ if name.startswith(("KEDGE_", "GIT_", "WORKERS_CI"))]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def _quiet_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database of the test's own."""
    database = Database(f"sqlite:///{tmp_path / 'kedge.db'}")
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
