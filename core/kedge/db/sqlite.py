"""SQLite: how its connections are set up, and what it refuses a transaction for."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.exc import DBAPIError

#: by SQLite's primary result code
UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "another program holds Kedge's database locked: end it",
    sqlite3.SQLITE_READONLY: "Kedge's database cannot be written: see to its permissions",
    sqlite3.SQLITE_IOERR: "the disk fails that Kedge's database lies on",
    sqlite3.SQLITE_FULL: "the disk is full that Kedge's database lies on: make room",
    sqlite3.SQLITE_CANTOPEN: "Kedge's database cannot be opened: see that its folder is there",
}
PRIMARY_CODE = 0xFF


def connect(url: str, *, connections: int) -> Engine:
    """An engine for the file of `url`. Nothing is opened yet."""
    engine = create_engine(
        url, pool_size=connections, max_overflow=0, connect_args={"check_same_thread": False}
    )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    # With isolation_level None the driver begins nothing by itself: a transaction's BEGIN IMMEDIATE is ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "cache_size=-8000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def why_unavailable(error: DBAPIError) -> str | None:
    """What to do if the database could not do what it was asked; `None` if it was asked something wrong."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else UNAVAILABLE.get(code & PRIMARY_CODE)
