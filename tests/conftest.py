"""Every test starts from a clean environment and a fresh database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import structlog

from kedge.db.engine import Database
from kedge.db.schema import upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

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
