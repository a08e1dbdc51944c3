"""What all connections of a node have in common."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kedge.http.connection import Connection
from kedge.http.crowd import Crowd
from kedge.http.deadlines import Deadlines

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterable
    from ipaddress import IPv4Network, IPv6Network

    from starlette.types import ASGIApp

    from kedge.http.answering import Answering
    from kedge.http.request import Request

BACKLOG = 1024


class Stoppable(Protocol):
    """A connection, whatever is spoken over it."""

    def shutdown(self) -> None:
        """End when that is polite."""
        ...

    def break_off(self) -> None:
        """End now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be asked before anybody has looked at it. Times are seconds, sizes bytes."""

    head: int = 32 * 1024
    head_within: float = 30.0
    keep_alive: float = 75.0
    #: for a kilobyte of a request to come, and of an answer to be taken
    stalled: float = 60.0
    #: connections that there may be, in all and of one address that is no trusted proxy's
    connections: int = 8192
    connections_of_one: int = 1024
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()


def _nothing(_: Request) -> None:
    return None


class Server:
    """Answers by an ASGI application; what `shortcut` takes is answered without a task of its own."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        *,
        shortcut: Callable[[Request], Answering | None] | None = None,
        tunnel: Callable[[Server], asyncio.Protocol] | None = None,
    ) -> None:
        """`tunnel` makes what a connection becomes whose request asks for a WebSocket.

        Nothing listens yet; for the running loop.
        """
        self.app = app
        self.limits = limits
        self.shortcut = shortcut or _nothing
        self.tunnel = tunnel
        self.deadlines = Deadlines()
        self._crowd = Crowd(limits.connections, limits.connections_of_one, limits.proxies)
        #: connections, and the addresses that they come from
        self._connections: dict[Stoppable, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []
        self._quiet = asyncio.Event()

    async def open(self, sockets: Iterable[socket.socket]) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        for one in sockets:
            listener = await loop.create_server(lambda: Connection(self), sock=one, backlog=BACKLOG)
            self._listeners.append(listener)

    async def close(self, *, patience: float) -> None:
        """Take no more, and end those there are: after the answer being given, if that ends in time."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.shutdown()
        self._look_around()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._quiet.wait()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.break_off()
        await self._quiet.wait()

    def came(self, connection: Stoppable, address: str = "") -> str:
        """A connection is open: it is ended with the server. Return why there is no room for it, if so."""
        self._connections[connection] = address
        self._quiet.clear()
        return self._crowd.enter(address)

    def went(self, connection: Stoppable) -> None:
        """It is not any more, or is another's now."""
        address = self._connections.pop(connection, None)
        if address is not None:
            self._crowd.leave(address)
        self._look_around()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that belongs to a connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        self._quiet.clear()
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._look_around()

    def _look_around(self) -> None:
        if not self._connections and not self._tasks:
            self._quiet.set()
