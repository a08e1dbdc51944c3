"""WebSockets, passed through as they are: what is said in them is between visitor and program."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote

import httptools
import structlog

from kedge.errors import KedgeError
from kedge.http.answering import lines
from kedge.placement.cluster_key import WrongMoment
from kedge.workers.relay.connect import connect
from kedge.workers.relay.end import HIGH_WATER, End
from kedge.workers.relay.headers import Header, find

if TYPE_CHECKING:
    import ssl

    from starlette.types import Scope

    from kedge.http.server import Server

log = structlog.get_logger("gateway")

#: the status that says yes
SWITCHING = 101
UPGRADE = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))
#: time for that answer
PATIENCE = 60.0
REFUSAL = b"HTTP/1.1 %d %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
REASONS = {
    404: b"Not Found",
    426: b"Upgrade Required",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


class Way(NamedTuple):
    """How whoever answers a WebSocket is reached, what he is told, and what is said beside his agreement."""

    address: str
    headers: Sequence[Header]
    added: Sequence[Header] = ()
    tls: ssl.SSLContext | None = None


class Opener(Protocol):
    """What knows where a host's program listens."""

    def serves(self, host: str) -> bool:
        """Whether a request with this `Host` header may be for a program at all."""
        ...

    async def open_tunnel(self, scope: Scope, stack: AsyncExitStack, shake: Handshake) -> Program:
        """The other end of a WebSocket, kept up until `stack` ends; `shake` is tried on each way there.

        Raises `KedgeError`, of which `PeerGone` may come later, out of `stack`.
        """
        ...


class _Head:
    """The request that wants to be a WebSocket."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[Header] = []
        parser = httptools.HttpRequestParser(self)
        with suppress(httptools.HttpParserUpgrade):
            parser.feed_data(data)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def scope(self, client: tuple[str, int] | None) -> Scope:
        """What it asks, as ASGI has it."""
        path, _, query = self.url.partition(b"?")
        return {
            "type": "websocket",
            "method": self.method.decode(),
            "scheme": "ws",
            "client": client,
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }


class Program(End):
    """The program's side. Only its agreement opens the tunnel: without it a visitor has no line to it."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        super().__init__()
        self.added: Sequence[Header] = ()
        self._first = b""
        #: the status that it answers with; 0 if it goes without an answer
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Its answer first, then what it says in the tunnel."""
        if self.other is not None:
            super().data_received(data)
            return
        self._first += data
        if b"\r\n" in self._first and not self.answered.done():
            status = self._first[9:12]
            self.answered.set_result(int(status) if status.isdigit() else 502)
        elif len(self._first) > HIGH_WATER and self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        if not self.answered.done():
            self.answered.set_result(0)
        super().connection_lost(exc)

    def join(self, other: End) -> None:
        """From now on both sides hear each other."""
        self.other = other
        status, _, rest = self._first.partition(b"\r\n")
        super().data_received(status + b"\r\n" + lines(self.added) + rest)


Handshake = Callable[[Way], Awaitable[Program]]


class Tunnel(End):
    """The visitor's side; a connection is handed over to it when a request asks for a WebSocket.

    Its first bytes are that request, and no more. The tunnel is open for as long as both sides are.
    """

    def __init__(self, gateway: Opener, server: Server) -> None:
        """`server` is told of the tunnel as long as it is open."""
        super().__init__()
        self.gateway = gateway
        self._server = server
        self._begun = False
        #: what the visitor says before the program has agreed, and how many bytes that is
        self._early: list[bytes] = []
        self._early_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._server.came(self, "" if self.client is None else self.client[0])

    def data_received(self, data: bytes) -> None:
        """The request first, then what the visitor says in the tunnel."""
        if self.other is not None:
            super().data_received(data)
        elif self._begun:
            self._early.append(data)
            self._early_bytes += len(data)
            if self._early_bytes > HIGH_WATER and self.transport is not None:
                self.transport.pause_reading()
        else:
            self._begun = True
            self._server.spawn(self._run(_Head(data)))

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor has gone."""
        self._server.went(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The node stops."""
        if self.transport is not None:
            self.transport.close()

    def break_off(self) -> None:
        """End at once."""
        if self.transport is not None:
            self.transport.abort()

    async def _run(self, head: _Head) -> None:
        scope = head.scope(self.client)
        host = (find(head.headers, b"host") or b"").decode("latin-1")
        if not self.gateway.serves(host):
            self._refuse(426)
            return
        try:
            async with AsyncExitStack() as stack:
                program = await self.gateway.open_tunnel(scope, stack, partial(self._shake, head))
                await self._go_on(program)
        except WrongMoment:
            # the node that asks knows what silence means
            self.break_off()
        except KedgeError as error:
            log.warning("tunnel_not_opened", host=host, reason=str(error))
            self._end(error.status)
        except OSError as error:
            log.warning("tunnel_not_opened", host=host, reason=error.strerror or str(error))
            self._refuse(502)

    async def _shake(self, head: _Head, way: Way) -> Program:
        """Ask for the WebSocket there. Raises `OSError` if nobody answers."""
        program = await connect(Program, way.address, way.tls)
        assert program.transport is not None  # noqa: S101  (connected)
        program.added = way.added
        first = b"%b %b HTTP/1.1\r\n" % (head.method, head.url)
        program.transport.write(first + lines([*way.headers, *UPGRADE]) + b"\r\n")
        try:
            await asyncio.wait((program.answered, self.gone), timeout=PATIENCE, return_when=FIRST_COMPLETED)
        except BaseException:
            program.transport.abort()
            raise
        if program.answered.done() and not program.answered.result():
            raise ConnectionResetError("the connection was closed")
        return program

    async def _go_on(self, program: Program) -> None:
        assert program.transport is not None  # noqa: S101  (connected)
        try:
            status = program.answered.result() if program.answered.done() else 504
            if status != SWITCHING:
                self._refuse(status)
                return
            program.join(self)
            self.other = program
            for data in self._early:
                program.transport.write(data)
            self._early.clear()
            if self.transport is not None and not self.gone.done():
                self.transport.resume_reading()
            await asyncio.wait((self.gone, program.gone), return_when=FIRST_COMPLETED)
        finally:
            program.transport.close()

    def _end(self, status: int) -> None:
        """Refuse, or break off what was agreed."""
        if self.other is None:
            self._refuse(status if status in REASONS else 502)
        else:
            self.break_off()

    def _refuse(self, status: int) -> None:
        if self.transport is not None:
            self.transport.write(REFUSAL % (status, REASONS.get(status, b"Refused")))
            self.transport.close()
