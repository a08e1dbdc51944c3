"""The proxy through which the instances of a node ask others; it measures, and never decrypts.

Instances find it in their environment (`HTTP_PROXY` and its like) with credentials of their own. Requests for
`http://` are passed on, over connections that stay open; `CONNECT` opens a line for anything else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import TYPE_CHECKING

from kedge.errors import KedgeError
from kedge.http.server import Limits, Server
from kedge.workers.egress.door import Door
from kedge.workers.egress.guests import Guests
from kedge.workers.egress.ledger import Speech
from kedge.workers.egress.plain import Plain
from kedge.workers.egress.refusals import CROWDED, WHO, in_words
from kedge.workers.egress.targets import split
from kedge.workers.relay.headers import HOP_BY_HOP, find
from kedge.workers.relay.relay import Bounds, Relay

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from kedge.http.request import Request
    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.egress.targets import Targets
    from kedge.workers.relay.headers import Header
    from kedge.workers.relay.upstream import Answer

LIMITS = Limits(head=16 * 1024, head_within=10.0)
BOUNDS = Bounds(first_byte=300.0, idle=300.0, body=1 << 40)


class EgressProxy:
    """One for a node. Whoever has no token of an instance is let nowhere."""

    def __init__(self, ledger: Ledger, targets: Targets) -> None:
        """Nothing listens yet."""
        self.ledger = ledger
        self.targets = targets
        self.guests = Guests()
        self.address = ""
        self._relay = Relay(BOUNDS)
        self._listener: asyncio.Server | None = None
        self.server: Server

    async def open(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self.server = Server(self._pass_on, LIMITS, shortcut=_note_connection)
        self._listener = await loop.create_server(lambda: Door(self), "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End every connection, and look up no more names."""
        if self._listener is not None:
            self._listener.close()
            await self.server.close(patience=0)
        self._relay.close()
        self.targets.close()
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
        plain = Plain(self.server, self.guests)
        plain.connection_made(transport)
        transport.set_protocol(plain)
        plain.data_received(data)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One plain request."""
        instance_id = self.instance_of(find(scope["headers"], b"proxy-authorization"))
        if instance_id is None:
            await _say(send, 407, WHO, [(b"proxy-authenticate", b"Basic")])
            return
        if not self.guests.know(scope["state"]["connection"], instance_id):
            await _say(send, 503, CROWDED)
            return
        host, port = split(find(scope["headers"], b"host") or b"", 80)
        label = f"{host}:{port}"
        self.ledger.note_speech(label, Speech.HTTP)
        headers = [header for header in scope["headers"] if header[0] not in HOP_BY_HOP]
        began = time.monotonic()

        def answered(_: Answer) -> list[Header]:
            self.ledger.note(instance_id, label, began)
            return []

        try:
            address = await self.targets.resolve(host, port, instance_id)
            await self._relay.pass_on(address, headers, scope, receive, send, answered=answered)
        except (KedgeError, OSError) as error:
            status, text = in_words(error)
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


def _note_connection(request: Request) -> None:
    """Every request is answered by the application, which else would not know where it comes from."""
    request.state["connection"] = request.connection


async def _say(send: Send, status: int, text: str, headers: list[Header] | None = None) -> None:
    body = text.encode() + b"\n"
    length = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": [*length, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
