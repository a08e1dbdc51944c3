"""The proxy through which the instances of a node ask others; it measures, and never decrypts.

Instances find it in their environment (`HTTP_PROXY` and its like) with credentials of their own. Requests for
`http://` are passed on, over connections that stay open; `CONNECT` opens a line for anything else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from kedge.errors import KedgeError
from kedge.workers.egress.ledger import Speech
from kedge.workers.egress.targets import NotAllowed
from kedge.workers.relay.connect import connect
from kedge.workers.relay.end import End
from kedge.workers.relay.headers import HOP_BY_HOP, find
from kedge.workers.relay.relay import Bounds, NoAnswer, Relay

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.egress.targets import Targets
    from kedge.workers.relay.headers import Header
    from kedge.workers.relay.upstream import Answer

log = structlog.get_logger("egress")

LARGEST_HEAD = 16 * 1024
#: the first byte of whoever begins to speak TLS
TLS_HANDSHAKE = b"\x16"
#: connections of all instances together
MOST_CONNECTIONS = 4096
BOUNDS = Bounds(first_byte=300.0, idle=300.0, body=1 << 40)
WHO = b'HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm="kedge"\r\n'
REFUSAL = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class EgressProxy:
    """One for a node. Whoever has no token of an instance is let nowhere."""

    def __init__(self, ledger: Ledger, targets: Targets) -> None:
        """Nothing listens yet."""
        self.ledger = ledger
        self.targets = targets
        self.address = ""
        self._relay = Relay(BOUNDS)
        self._server: asyncio.Server | None = None
        self._connections: set[Any] = set()
        self._state = ServerState()
        self._config = uvicorn.Config(
            self._pass_on,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
        )

    async def open(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Door(self), "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for connection in [*self._connections, *self._state.connections]:
            if connection.transport is not None:
                connection.transport.abort()
        for task in [*self._state.tasks]:
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        self._relay.close()
        # connections take a turn of the loop to notice that they are over
        await asyncio.sleep(0)

    def environment(self, instance_id: str) -> dict[str, str]:
        """What an instance finds in its environment, to ask others through here."""
        url = f"http://{instance_id}:{self.ledger.admit(instance_id)}@{self.address}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        both = {form: url for name in names for form in (name, name.lower())}
        # Node asks for nothing through a proxy unless it is told to
        return {**both, "NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1"}

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Serve a connection as one of plain requests from now on."""
        http = HttpToolsProtocol(config=self._config, server_state=self._state, app_state={})
        http.connection_made(transport)
        transport.set_protocol(http)
        http.data_received(data)

    def track(self, door: _Door, *, present: bool) -> bool:
        """Remember a connection, or forget it. False if there are too many."""
        if present:
            if len(self._connections) + len(self._state.connections) >= MOST_CONNECTIONS:
                return False
            self._connections.add(door)
        else:
            self._connections.discard(door)
        return True

    def spawn(self, work: Any) -> None:
        """Run something that ends with the proxy."""
        task = asyncio.get_running_loop().create_task(work)
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One plain request."""
        instance_id = self.instance_of(find(scope["headers"], b"proxy-authorization"))
        if instance_id is None:
            await _say(send, 407, "send the credentials of HTTP_PROXY", [(b"proxy-authenticate", b"Basic")])
            return
        host, port = _split(find(scope["headers"], b"host") or b"", 80)
        label = f"{host}:{port}"
        self.ledger.note_speech(label, Speech.HTTP)
        headers = [header for header in scope["headers"] if header[0] not in HOP_BY_HOP]
        began = time.monotonic()

        def answered(_: Answer) -> list[Header]:
            self.ledger.note(instance_id, label, began)
            return []

        try:
            address = await self.targets.resolve(host, port)
            await self._relay.pass_on(address, headers, scope, receive, send, answered=answered)
        except (KedgeError, OSError) as error:
            status, text = _in_words(error)
            await _say(send, status, text)

    def instance_of(self, authorization: bytes | None) -> str | None:
        """Whose credentials these are."""
        kind, _, encoded = (authorization or b"").partition(b" ")
        if kind.lower() != b"basic":
            return None
        try:
            name, _, token = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        found = self.ledger.find(token)
        return found if found == name else None


class _Door(End):
    """The instance's side of a connection, until it is known what it wants, and of a line."""

    def __init__(self, proxy: EgressProxy) -> None:
        super().__init__()
        self._proxy = proxy
        self._head = b""
        self._asked: float | None = None
        #: when the connect to the other side began, until that has said something
        self._connected: float | None = None
        self.instance_id = ""
        self.host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._proxy.track(self, present=True) and self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.track(self, present=False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
            self._proxy.track(self, present=False)
            self._proxy.take_over(self.transport, self._head)
        elif b"\r\n\r\n" in self._head:
            head, self._head = self._head, b""
            self.transport.pause_reading()
            self._proxy.spawn(self._open(head))
        elif len(self._head) > LARGEST_HEAD:
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
            self._refuse(WHO, "send the credentials of HTTP_PROXY")
            return
        host, port = _split(head.target, 443)
        self.instance_id, self.host = instance_id, f"{host}:{port}"
        began = time.monotonic()
        try:
            address = await self._proxy.targets.resolve(host, port)
            far = await connect(lambda: _Far(self), address)
        except (KedgeError, OSError) as error:
            status, text = _in_words(error)
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

    def __init__(self, door: _Door) -> None:
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


def _split(target: bytes, port: int) -> tuple[str, int]:
    text = target.decode("latin-1").lower()
    host, colon, given = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, given = text, ""
    number = int(given) if given.isdecimal() and len(given) < 6 else port
    return host.strip("[]").rstrip("."), min(number, 65535)


def _in_words(error: Exception) -> tuple[int, str]:
    if isinstance(error, NotAllowed):
        log.warning("egress_refused", reason=str(error))
        return 403, str(error)
    if isinstance(error, NoAnswer):
        return 504 if error.late else 502, str(error)
    if isinstance(error, TimeoutError):
        return 504, "it does not take connections"
    return 502, f"it cannot be reached ({getattr(error, 'strerror', None) or error})"


async def _say(send: Send, status: int, text: str, headers: list[Header] | None = None) -> None:
    body = text.encode() + b"\n"
    length = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": [*length, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
