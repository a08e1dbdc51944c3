"""WebSockets, passed through as they are: what is said in them is between visitor and program."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Protocol

import httptools
import structlog

from kedge.errors import KedgeError
from kedge.workers.relay.connect import connect
from kedge.workers.relay.end import HIGH_WATER, End
from kedge.workers.relay.headers import FORWARDED, OWN

if TYPE_CHECKING:
    from kedge.http.server import Server
    from kedge.workers.relay.headers import Header

log = structlog.get_logger("gateway")

#: how an answer begins that says yes
AGREED = b"HTTP/1.1 101"
SWITCHING = 101
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


class Opener(Protocol):
    """What knows where a host's program listens."""

    def serves(self, host: str) -> bool:
        """Whether a request with this `Host` header may be for a program at all."""
        ...

    async def open_tunnel(self, host: str, stack: AsyncExitStack) -> str:
        """Where the program of a host listens, kept up until `stack` ends. Raises `KedgeError`."""
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

    def value(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key == name), b"")


class _Program(End):
    """The program's side. Only its agreement opens the tunnel: without it a visitor has no line to it."""

    def __init__(self) -> None:
        super().__init__()
        self._first = b""
        #: whether it agreed
        self.agreed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        self._first += data
        if len(self._first) >= len(AGREED) and not self.agreed.done():
            status = self._first[9:12]
            self.agreed.set_result(int(status) if status.isdigit() else 502)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.agreed.done():
            self.agreed.set_result(502)
        super().connection_lost(exc)

    def join(self, other: End) -> None:
        """From now on both sides hear each other."""
        self.other, first = other, self._first
        super().data_received(first)


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
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours."""
        super().connection_made(transport)
        self._server.came(self)

    def data_received(self, data: bytes) -> None:
        """The request first, then what the visitor says in the tunnel."""
        if self.other is not None:
            super().data_received(data)
        elif self._begun:
            self._early.append(data)
            if sum(map(len, self._early)) > HIGH_WATER and self.transport is not None:
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
        host = head.value(b"host").decode("latin-1")
        if not self.gateway.serves(host):
            self._refuse(426)
            return
        async with AsyncExitStack() as stack:
            try:
                address = await self.gateway.open_tunnel(host, stack)
                program = await connect(_Program, address)
            except KedgeError as error:
                log.warning("tunnel_not_opened", host=host, reason=str(error))
                self._refuse(error.status if error.status in REASONS else 502)
                return
            except OSError as error:
                log.warning("tunnel_not_opened", host=host, reason=error.strerror)
                self._refuse(502)
                return
            await self._go_on(program, head)

    async def _go_on(self, program: _Program, head: _Head) -> None:
        assert program.transport is not None  # noqa: S101  (connected)
        try:
            program.transport.write(self._request(head))
            await asyncio.wait((program.agreed, self.gone), timeout=PATIENCE, return_when=FIRST_COMPLETED)
            status = program.agreed.result() if program.agreed.done() else 504
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

    def _request(self, head: _Head) -> bytes:
        peer = self.transport.get_extra_info("peername") if self.transport else None
        lines = [b"%b %b HTTP/1.1" % (head.method, head.url)]
        for name, value in head.headers:
            if name not in FORWARDED and not name.startswith(OWN):
                lines.append(b"%b: %b" % (name, value))
        lines.append(
            b"x-forwarded-for: %b" % (str(peer[0]).encode() if isinstance(peer, tuple) and peer else b"")
        )
        lines.append(b"x-forwarded-proto: ws")
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _refuse(self, status: int) -> None:
        if self.transport is not None:
            self.transport.write(REFUSAL % (status, REASONS.get(status, b"Refused")))
            self.transport.close()
