"""Requests that ask for another protocol than HTTP/1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.http.answering import lines
from kedge.http.rules import Refused

if TYPE_CHECKING:
    from kedge.http.request import Request
    from kedge.http.server import Server

OFFERS = frozenset({b"upgrade", b"http2-settings"})


def asks_for_websocket(request: Request) -> bool:
    """Whether it wants to become a WebSocket. Raises `Refused` for one that has a body."""
    wanted = [value.strip().lower() for name, value in request.headers if name == b"upgrade"]
    if wanted != [b"websocket"]:
        return False
    if request.method != b"GET" or request.old or request.has_body:
        raise Refused(400, "a WebSocket begins with a GET of HTTP/1.1 that has no body")
    return True


def without_upgrade(request: Request) -> bytes:
    """The head of the same request, without the offer to speak something else."""
    kept = []
    for header in request.headers:
        if header[0] == b"connection":
            left = _without_offers(header[1])
            kept += [(b"connection", left)] if left else []
        elif header[0] not in OFFERS:
            kept.append(header)
    return head_of(request, kept)


def _without_offers(connection: bytes) -> bytes:
    tokens = [token.strip() for token in connection.split(b",")]
    return b", ".join(token for token in tokens if token.lower() not in OFFERS)


def head_of(request: Request, headers: list[tuple[bytes, bytes]] | None = None) -> bytes:
    """A request's head as bytes, as it was or with other headers."""
    first = b"%b %b HTTP/%b\r\n" % (request.method, request.target, request.version.encode())
    return first + lines(request.headers if headers is None else headers) + b"\r\n"


def hand_over(request: Request, server: Server, held: bytes) -> None:
    """Make the request's connection a tunnel's, and let that read the head and what came behind it."""
    assert server.tunnel is not None  # noqa: S101  (asked before)
    transport = request.connection.transport
    tunnel = server.tunnel(server)
    tunnel.connection_made(transport)
    transport.set_protocol(tunnel)
    tunnel.data_received(head_of(request))
    if held:
        tunnel.data_received(held)
