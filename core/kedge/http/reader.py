"""Requests, read strictly from what a visitor says."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import httptools
import structlog

from kedge.http.request import Request
from kedge.http.rules import Refused, check, framing_of
from kedge.http.shape import SHAPES
from kedge.http.upgrade import asks_for_websocket, without_upgrade

if TYPE_CHECKING:
    from kedge.http.connection import Connection
    from kedge.http.rules import Framing

log = structlog.get_logger("http")


class State(Enum):
    """What becomes of what is said next."""

    #: it is of the present request, or the next one
    OPEN = auto()
    #: it is of the present request, the last of the connection
    LAST = auto()
    #: the present request asks for another protocol, and the parser stops behind it
    LEAVING = auto()
    #: it is thrown away
    DEAF = auto()


OPEN, LAST, LEAVING, DEAF = State


class Reader:
    """Of one connection. Tells it of requests, within `feed`."""

    __slots__ = (
        "_beside",
        "_connection",
        "_head_bytes",
        "_leaving",
        "_most_head",
        "_names",
        "_parser",
        "_part_bytes",
        "_target",
        "_tunnels",
        "_values",
        "in_head",
        "reading",
        "state",
    )

    def __init__(self, connection: Connection, most_head: int, *, tunnels: bool) -> None:
        """A head may have so many bytes; `tunnels` tells whether WebSockets are spoken here."""
        self._connection = connection
        self._most_head = most_head
        self._tunnels = tunnels
        self._parser = httptools.HttpRequestParser(self)
        self.state = OPEN
        #: whether a head has begun and is not whole
        self.in_head = False
        #: the request whose body is not whole
        self.reading: Request | None = None
        self._leaving: Request | None = None
        self._target = b""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        #: bytes of this part, and of the parts before it that were all head
        self._part_bytes = self._head_bytes = 0
        #: bytes since the last of a body: what chunks are extended with, and what stands behind them
        self._beside = 0

    def feed(self, data: bytes) -> None:
        """Read on."""
        began_before = self.in_head
        self._part_bytes = len(data)
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leave(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError:
            log.exception("a request could not be read")
            self._connection.break_off()
        except httptools.HttpParserError as error:
            self._break(str(error))
        if self.reading is not None and self._beside > self._most_head:
            self._break("too much stands between or behind the chunks of the request")
        if self.in_head and self.state is not DEAF:
            self._wait_for_head(len(data) if began_before else 0)

    def _wait_for_head(self, more: int) -> None:
        """A head is not whole yet; `more` bytes of it have come since the last time."""
        self._head_bytes += more
        if self._is_large():
            self._connection.refuse(431, self._too_large())
        elif not more:
            self._connection.head_begun()

    def _break(self, reason: str) -> None:
        if self.state is not DEAF:
            request, self.reading = self.reading, None
            self._connection.broken(request, reason)

    def _leave(self, rest: bytes) -> None:
        """The parser stops: another protocol is asked for."""
        request, self._leaving = self._leaving, None
        if self.state is not LEAVING or request is None:
            return
        if self._tunnels and asks_for_websocket(request):
            self._connection.upgraded(request, rest)
        else:
            # not one that is spoken here: the request is read once more, as if it had not asked
            self._parser = httptools.HttpRequestParser(self)
            self.state = OPEN
            self.feed(without_upgrade(request) + rest)

    def _is_large(self) -> bool:
        """Whether the head has more bytes than it may; it is only measured if that can be."""
        most = self._most_head
        if self._head_bytes + self._part_bytes <= most:
            return False
        said = [*self._names, *self._values]
        measured = len(self._target) + sum(map(len, said)) + 2 * len(said)
        return max(measured, self._head_bytes) > most

    def _too_large(self) -> str:
        return f"the head of a request may have {self._most_head} bytes"

    # ---- httptools

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._names.clear()
        self._values.clear()
        self._head_bytes = 0
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those behind the body are not passed on, as they are not there yet."""
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.in_head = False
        if self.state is DEAF:
            return
        if self._head_bytes + self._part_bytes > self._most_head and self._is_large():
            self._connection.refuse(431, self._too_large())
            return
        parser, shape, values = self._parser, SHAPES[tuple(self._names)], self._values
        self._names, self._values = [], []
        request = Request(self._connection, parser.get_method(), self._target, shape, values)
        framing: Framing = shape[framing_of]
        request.keep_alive = parser.should_keep_alive()
        if framing.connection or not request.keep_alive:
            self._tell_version(request)
        try:
            check(request, framing)
            if parser.should_upgrade():
                self._note_upgrade(request)
                return
        except Refused as refused:
            self._connection.refuse(refused.status, refused.reason)
            return
        if not request.keep_alive:
            self.state = LAST
        if request.chunked or request.length:
            request.whole = False
            self.reading = request
            self._beside = 0
        self._connection.asked(request)

    def _tell_version(self, request: Request) -> None:
        """Only HTTP/1.1 keeps a connection that nobody asked to keep: then this need not be told."""
        request.version = self._parser.get_http_version()
        if request.version != "1.1":
            request.old, request.keep_alive = True, False

    def _note_upgrade(self, request: Request) -> None:
        """The parser reads nothing behind it. Raises `Refused` for a WebSocket that cannot be."""
        if self._tunnels:
            asks_for_websocket(request)
        self.state, self._leaving = LEAVING, request

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._beside = 0
        if self.reading is not None and self.state is not DEAF:
            self._connection.part(self.reading, body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        state = self.state
        if state is DEAF or state is LEAVING:
            return
        if self.reading is not None:
            request, self.reading = self.reading, None
            request.whole = True
            self._connection.body_ended(request)
        if state is LAST:
            # what follows the last request is nobody's
            self.state = DEAF
