"""Wake-ups between the nodes of one PostgreSQL. They carry names only; a lost one costs a second."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from sqlalchemy import text

from kedge.db.postgresql import OPTIONS, DatabaseUnusable
from kedge.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection
    from sqlmodel import Session

    from kedge.db.engine import Database

log = structlog.get_logger("bus")

CHANNEL = "kedge"
NOTIFY = text("SELECT pg_notify(:channel, message) FROM unnest(CAST(:messages AS text[])) AS message")
TAKE_NAME = "SELECT pg_try_advisory_lock(hashtextextended('kedge node ' || %s, 0))"
#: a node that was killed holds its name until the server notices
NAME_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class Bus:
    """One connection that listens and holds this node's name; what is told goes by the pool.

    Where a node has its database for itself all of it does nothing.
    """

    def __init__(self, db: Database, node: str) -> None:
        """`node` is this node's name, unique among those of the database."""
        self._db = db
        self._node = node
        self._self = uuid4().hex[:12]
        self._subscribers: dict[str, Callable[[str], None]] = {}
        self._untold: set[tuple[str, str]] = set()
        self._told = asyncio.Event()
        self._connection: AsyncConnection | None = None

    def subscribe(self, kind: str, heard: Callable[[str], None]) -> None:
        """Call `heard(name)` on the event loop when another node has told `kind` of a name."""
        self._subscribers[kind] = heard

    def tell(self, kind: str, name: str = "") -> None:
        """Wake the other nodes; returns at once. What is told several times meanwhile is sent once."""
        if self._db.shared:
            self._untold.add((kind, name))
            self._told.set()

    async def open(self) -> None:
        """Take this node's name and listen. Raises `DatabaseUnusable` if another node has the name."""
        if not self._db.shared:
            return
        end = asyncio.get_running_loop().time() + NAME_SECONDS
        while self._connection is None:
            self._connection = await self._connect()
            if self._connection is None:
                if asyncio.get_running_loop().time() > end:
                    raise DatabaseUnusable(
                        f'another node of this database is named "{self._node}": '
                        'stop it, or give this one a name of its own by the setting "node.name"'
                    )
                await asyncio.sleep(FIRST_PAUSE)

    def own_address(self) -> str:
        """The address of this machine in the network that the database is reached by."""
        if self._connection is not None:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as end:
                if end.family in {socket.AF_INET, socket.AF_INET6}:
                    return str(end.getsockname()[0])
        return "127.0.0.1"

    async def close(self) -> None:
        """Give the name back."""
        if self._connection is not None:
            await self._connection.close()

    async def listen(self) -> None:
        """Hear the others until cancelled, over as many connections as it takes."""
        if not self._db.shared:
            return
        from psycopg import OperationalError  # noqa: PLC0415  (for PostgreSQL only)

        pause = FIRST_PAUSE
        while True:
            try:
                self._connection = self._connection or await self._connect()
                if self._connection is None:
                    log.error("another node has taken this node's name", name=self._node)
                else:
                    pause = FIRST_PAUSE
                    async for heard in self._connection.notifies():
                        self._hear(heard.payload)
            except OperationalError as error:
                log.warning("the database is away; wake-ups wait", reason=" ".join(str(error).split()))
            await self.close()
            self._connection = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def speak(self) -> None:
        """Send what is told until cancelled."""
        while True:
            await self._told.wait()
            self._told.clear()
            untold, self._untold = self._untold, set()
            messages = [f"{self._self} {kind} {name}" for kind, name in sorted(untold)]
            with suppress(StoreUnavailable):  # the others look by themselves
                await self._db.write_rows(_notify, messages)

    def _hear(self, message: str) -> None:
        sender, _, rest = message.partition(" ")
        kind, _, name = rest.partition(" ")
        heard = self._subscribers.get(kind)
        if sender != self._self and heard is not None:
            heard(name)

    async def _connect(self) -> AsyncConnection | None:
        """A connection that has this node's name and listens; `None` if the name is taken."""
        from psycopg import AsyncConnection  # noqa: PLC0415  (for PostgreSQL only)

        url = self._db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await AsyncConnection.connect(url, autocommit=True, **OPTIONS)
        try:
            row = await (await connection.execute(TAKE_NAME, (self._node,))).fetchone()
            if row is not None and row[0]:
                await connection.execute(f"LISTEN {CHANNEL}")
                return connection
        except BaseException:
            await connection.close()
            raise
        await connection.close()
        return None


def _notify(session: Session, messages: list[str]) -> None:
    session.execute(NOTIFY, {"channel": CHANNEL, "messages": messages})
