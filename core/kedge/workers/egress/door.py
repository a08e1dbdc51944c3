"""A connection to the proxy of which nobody knows yet what it is for, and a line to another side."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httptools

from kedge.errors import KedgeError
from kedge.workers.egress.ledger import Speech
from kedge.workers.egress.refusals import CROWDED, WHO, in_words
from kedge.workers.egress.targets import split
from kedge.workers.relay.connect import connect
from kedge.workers.relay.end import End

if TYPE_CHECKING:
    from kedge.workers.egress.proxy import EgressProxy

#: the first byte of whoever begins to speak TLS
TLS_HANDSHAKE = b"\x16"
UNKNOWN = b'HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm="kedge"\r\n'
REFUSAL = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class Door(End):
    """The instance's side of a connection, until it is known what it wants, and of a line."""

    def __init__(self, proxy: EgressProxy) -> None:
        """Not connected yet."""
        super().__init__()
        self._proxy = proxy
        self._head = b""
        self._asked: float | None = None
        #: when the connect to the other side began, until that has said something
        self._connected: float | None = None
        self.instance_id = ""
        self.host = ""
        #: when its head has to be whole
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has come; he has a while to say what he wants."""
        super().connection_made(transport)
        server = self._proxy.server
        server.came(self)
        server.deadlines.watch(self)
        self.deadline = asyncio.get_running_loop().time() + server.limits.head_within
        if self.deadline < server.deadlines.due:
            server.deadlines.wake_at(self.deadline)
        self._proxy.guests.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """He has gone."""
        self._go()
        super().connection_lost(exc)

    def _go(self) -> None:
        self._proxy.guests.went(self)
        self._proxy.server.deadlines.forget(self)
        self._proxy.server.went(self)

    def shutdown(self) -> None:
        """There is no time at which it is polite to end a line."""
        self.break_off()

    def break_off(self) -> None:
        """End now."""
        if self.transport is not None:
            self.transport.abort()

    def expired(self) -> None:
        """His head has not come."""
        self._refuse(b"HTTP/1.1 408 Request Timeout\r\n", "the request did not come")

    def data_received(self, data: bytes) -> None:
        """A part of what he wants, or of what he says to the other side."""
        if self.other is not None:
            if self._asked is None:
                self._asked = time.monotonic()
            if self._connected is not None and data.startswith(TLS_HANDSHAKE):
                self._proxy.ledger.note_speech(self.host, Speech.TLS)
            super().data_received(data)
            return
        self._head += data
        if self.transport is None:
            return
        if not b"CONNECT ".startswith(self._head[:8]):
            self._go()
            self._proxy.take_over(self.transport, self._head)
        elif b"\r\n\r\n" in self._head:
            head, self._head = self._head, b""
            self.deadline = math.inf
            self.transport.pause_reading()
            self._proxy.server.spawn(self._open(head))
        elif len(self._head) > self._proxy.server.limits.head:
            self._refuse(b"HTTP/1.1 431 Request Header Fields Too Large\r\n", "the request is too large")

    def heard(self) -> None:
        """The other side says something: the answer to what was asked last, if anything was."""
        if self._connected is not None:
            # the connect was the first round trip; how long it took is known for certain only now
            self._proxy.ledger.note(self.instance_id, self.host, self._connected, rounds=2)
            self._connected = None
        elif self._asked is not None:
            self._proxy.ledger.note(self.instance_id, self.host, self._asked)
        self._asked = None

    async def _open(self, data: bytes) -> None:
        try:
            head = _Connect(data)
        except httptools.HttpParserError:
            self._refuse(b"HTTP/1.1 400 Bad Request\r\n", "this is no request")
            return
        instance_id = self._proxy.instance_of(head.authorization)
        if instance_id is None:
            self._refuse(UNKNOWN, WHO)
            return
        if not self._proxy.guests.know(self, instance_id):
            self._refuse(b"HTTP/1.1 503 Service Unavailable\r\n", CROWDED)
            return
        host, port = split(head.target, 443)
        self.instance_id, self.host = instance_id, f"{host}:{port}"
        began = time.monotonic()
        try:
            address = await self._proxy.targets.resolve(host, port, instance_id)
            far = await connect(lambda: _Far(self), address)
        except (KedgeError, OSError) as error:
            status, text = in_words(error)
            self._refuse(b"HTTP/1.1 %d Refused\r\n" % status, text)
            return
        self._connected = began
        far.other, self.other = self, far
        if self.transport is None or self.gone.done():
            far.close()
            return
        self.transport.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        self.transport.resume_reading()

    def _refuse(self, status: bytes, text: str) -> None:
        if self.transport is not None:
            body = text.encode() + b"\n"
            self.transport.write(status + REFUSAL % (len(body), body))
            self.transport.close()


class _Far(End):
    """The side of whoever was asked."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    def data_received(self, data: bytes) -> None:
        self._door.heard()
        super().data_received(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class _Connect:
    """The head of a CONNECT."""

    def __init__(self, data: bytes) -> None:
        self.target = b""
        self.authorization: bytes | None = None
        with suppress(httptools.HttpParserUpgrade):
            httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"proxy-authorization":
            self.authorization = value
