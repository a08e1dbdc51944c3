"""A visitor's connection: requests are read from it, one after the other, and answered in their order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools
import structlog

from kedge.http.answering import in_words
from kedge.http.cycle import Cycle
from kedge.http.farewell import Farewell
from kedge.http.request import Request
from kedge.http.rules import Refused, check, framing_of
from kedge.http.shape import SHAPES
from kedge.http.upgrade import asks_for_websocket, head_of, without_upgrade
from kedge.http.uptake import Uptake

if TYPE_CHECKING:
    from kedge.http.answering import Answering
    from kedge.http.rules import Framing
    from kedge.http.server import Server

log = structlog.get_logger("http")

#: bytes that lie here before whoever answers is made to wait
HIGH_WATER = 256 * 1024
#: requests that may come before the first of them is answered
MOST_WAITING = 128
#: a refused visitor may go on talking for so long, unheard, so that he gets to read why
LINGER_SECONDS = 5.0
#: and for so long at most while he reads on
LONGEST_LINGER = 300.0


class Connection(asyncio.Protocol):
    """Strict, and in order: an answer is written when its request's turn has come, an error no sooner."""

    __slots__ = (
        "_again",
        "_answering",
        "_beside",
        "_closing",
        "_current",
        "_deadlines",
        "_deaf",
        "_head_bytes",
        "_held",
        "_in_head",
        "_last",
        "_last_words",
        "_linger_until",
        "_most_head",
        "_names",
        "_parser",
        "_part_bytes",
        "_read_paused",
        "_reading",
        "_said_all",
        "_server",
        "_target",
        "_time",
        "_uptake",
        "_values",
        "_waiting",
        "_websocket",
        "address",
        "client",
        "deadline",
        "transport",
        "visitor",
        "write_paused",
    )

    def __init__(self, server: Server) -> None:
        """Not connected yet."""
        self._server = server
        self._deadlines = server.deadlines
        self._time = asyncio.get_running_loop().time
        self._parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.client: tuple[str, int] | None = None
        #: his address; empty for one that came by a Unix socket
        self.visitor = ""
        self.address: tuple[str, int | None] | None = None
        self.deadline = math.inf
        #: whether the visitor is slow to read
        self.write_paused = False
        self._read_paused = False
        # ---- what is read
        self._target = b""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._in_head = False
        self._most_head = server.limits.head
        #: bytes of this part, and of the parts before it that were all head
        self._part_bytes = self._head_bytes = 0
        #: bytes since the last of a body: what chunks are extended with, and what stands behind them
        self._beside = 0
        self._reading: Request | None = None
        #: the one that was read last is the last of the connection
        self._last = False
        self._websocket: Request | None = None
        self._again = b""
        self._held: list[bytes] = []
        #: nothing more is read
        self._deaf = False
        #: nothing more comes
        self._said_all = False
        # ---- what is answered
        self._current: Request | None = None
        self._answering: Answering | None = None
        self._waiting: deque[Request] = deque()
        self._last_words = b""
        self._closing = False
        self._uptake: Uptake
        self._linger_until = math.inf

    # ---- for whoever answers

    def give(self, seconds: float) -> None:
        """Let the answer take so long from now, until this is called again."""
        deadline = self.deadline = self._time() + seconds
        if deadline < self._deadlines.due:
            self._deadlines.wake_at(deadline)

    def hear_less(self) -> None:
        """Read no more for now."""
        if not self._read_paused and not self._said_all:
            self._read_paused = True
            self.transport.pause_reading()

    def hear_on(self) -> None:
        """Read on."""
        if self._read_paused and not self._held and not self._said_all:
            self._read_paused = False
            self.transport.resume_reading()

    def finished(self) -> None:
        """The answer is whole, and the next request's turn has come."""
        request = self._current
        self._current = self._answering = None
        if request is None or self.transport.is_closing():
            self.deadline = math.inf
        elif not request.whole:
            self._linger()
        elif not request.keep_alive or self._closing:
            self._close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
            if self._reading is not None and self._reading is self._current:
                self._take_held()
        elif self._last_words:
            self._say_last()
        elif self._said_all:
            self._close()
        elif self._in_head or self._read_paused:
            self._read_on()
        else:
            self.give(self._server.limits.keep_alive)

    def answer_anew(self, request: Request) -> None:
        """Have the application answer a request of which nothing has been answered yet."""
        self._answering = Cycle(request, self._server)

    def give_for_ever(self) -> None:
        """Let the answer take as long as it likes, unless the visitor does not take what there is of it."""
        if self.write_paused:
            self.give(self._server.limits.stalled)
        else:
            self.deadline = math.inf

    def refuse_rest(self, status: int, reason: str) -> None:
        """Of the request that is being answered no more is read; say why, if nothing was answered yet."""
        answering, self._answering, self._current, self._reading = self._answering, None, None, None
        if answering is None or answering.begun:
            self.transport.abort()
        else:
            answering.left()
            self._refuse(status, reason)

    def break_off(self) -> None:
        """End the connection in the middle of an answer."""
        self.transport.abort()

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A visitor has come; he has a while to say what he wants."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.client = str(peer[0]), int(peer[1])
            self.visitor = self.client[0]
        self.address = (str(own[0]), int(own[1])) if isinstance(own, tuple) else (str(own), None)
        full = self._server.came(self, self.visitor)
        self._deadlines.watch(self)
        self._uptake = Uptake(self.transport)
        if full:
            self.transport.write(in_words(503, full))
            self._close()
        else:
            self.give(self._server.limits.head_within)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the request that is being answered is whole: then what follows it waits."""
        if self._deaf:
            return
        if self._current is not None and self._reading is not self._current:
            self._held.append(data)
            self.hear_less()
            return
        self._feed(data)

    def eof_received(self) -> bool:
        """The visitor says no more. If all he asked has come and no answer has begun, he may still listen."""
        request, answering = self._current, self._answering
        if request is None or answering is None or answering.begun or self._reading or self._in_head:
            return False
        self._said_all = True
        if not request.old:
            Farewell(self.transport).ask()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor has gone."""
        self._server.went(self)
        self._deadlines.forget(self)
        self._deaf = True
        self._waiting.clear()
        answering, self._answering, self._current = self._answering, None, None
        if answering is not None:
            answering.left()

    def pause_writing(self) -> None:
        """The visitor is slow to read."""
        self.write_paused = True
        self._uptake.begin_anew()
        self.give(self._server.limits.stalled)
        if self._answering is not None:
            self._answering.pause()

    def resume_writing(self) -> None:
        """He has caught up."""
        self.write_paused = False
        self.deadline = math.inf
        if self._answering is not None:
            self._answering.resume()

    def shutdown(self) -> None:
        """The node stops: the answer that is being given is the last."""
        self._closing = True
        if self._current is None:
            self._close()
        else:
            self._current.keep_alive = False

    def expired(self) -> None:
        """Time is up for whatever is awaited: an answer, the rest of a head, or another request."""
        waiting = self._answering is not None and not self.write_paused
        if not waiting and self._time() < self._linger_until and self._uptake.goes_on():
            self.give(LINGER_SECONDS if self._deaf else self._server.limits.stalled)
        elif self._answering is not None:
            self._answering.expired()
        elif self._in_head and not self._deaf:
            self._refuse(408, f"a request's head has to come within {self._server.limits.head_within:g} s")
        else:
            # all that was said was taken, or nobody takes it
            self.transport.abort()

    # ---- reading

    def _feed(self, data: bytes) -> None:
        began_before = self._in_head
        self._part_bytes = len(data)
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError:
            log.exception("a request could not be read")
            self.transport.abort()
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._broken(str(error))
        if self._reading is not None and self._beside > self._most_head and not self._deaf:
            self._broken("too much stands between or behind the chunks of the request")
        if self._in_head and not self._deaf:
            self._wait_for_head(len(data) if began_before else 0)

    def _wait_for_head(self, more: int) -> None:
        """A head is not whole yet; `more` bytes of it have come since the last time."""
        self._head_bytes += more
        if self._is_large():
            self._refuse(431, self._too_large())
        elif self._current is None and not more:
            self.give(self._server.limits.head_within)

    def _take_held(self) -> None:
        """Read what lies here, and on."""
        held, self._held = b"".join(self._held), []
        self.hear_on()
        if held:
            self._feed(held)

    def _read_on(self) -> None:
        """Wait for the next request, or take the one that lies here already."""
        self.give(self._server.limits.head_within)
        if self._held or self._read_paused:
            self._take_held()

    def _broken(self, reason: str) -> None:
        """What came cannot be read any further."""
        request, self._reading = self._reading, None
        if request is None:
            self._refuse(400, reason)
        elif request is not self._current:
            self._waiting.remove(request)
            self._refuse(400, reason)
        else:
            self.refuse_rest(400, reason)

    def _refuse(self, status: int, reason: str) -> None:
        """Read no more; say why when everything before is answered."""
        self._deaf = True
        self._last_words = in_words(status, reason)
        if self._current is None:
            self._say_last()

    def _say_last(self) -> None:
        self.transport.write(self._last_words)
        self._linger()

    def _linger(self) -> None:
        """Close this side; what the visitor still says is thrown away, else he may never read the answer."""
        self._deaf = True
        self._held.clear()
        self.hear_on()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_until = self._time() + LONGEST_LINGER
        self._uptake.begin_anew()
        self.give(LINGER_SECONDS)

    def _close(self) -> None:
        """Close once the visitor has taken what is his, as long as he goes on to take it."""
        self._deaf = True
        self._uptake.begin_anew()
        self.transport.close()
        self.give(self._server.limits.stalled)

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
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those behind the body are not passed on, as they are not there yet."""
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        """The head is whole: its turn may have come."""
        self._in_head = False
        if self._deaf:
            return
        if self._head_bytes + self._part_bytes > self._most_head and self._is_large():
            self._refuse(431, self._too_large())
            return
        parser, shape, values = self._parser, SHAPES[tuple(self._names)], self._values
        self._names, self._values = [], []
        request = Request(self, parser.get_method(), self._target, shape, values)
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
            self._refuse(refused.status, refused.reason)
            return
        self._last = not request.keep_alive
        if request.chunked or request.length:
            request.whole = False
            self._reading = request
            self._beside = 0
        if self._current is None:
            self._begin(request)
        else:
            self._queue(request)

    def _tell_version(self, request: Request) -> None:
        """Only HTTP/1.1 keeps a connection that nobody asked to keep: then this need not be told."""
        request.version = self._parser.get_http_version()
        if request.version != "1.1":
            request.old, request.keep_alive = True, False

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._beside = 0
        request = self._reading
        if request is None or self._deaf:
            return
        if request is self._current and self._answering is not None:
            self._answering.body(body)
        else:
            request.early = request.early or []
            request.early.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._deaf or self._again or self._websocket is not None:
            return
        request, self._reading = self._reading, None
        if request is not None:
            request.whole = True
            if request is self._current and self._answering is not None:
                self._answering.body_ended()
        # what follows the last request is nobody's
        self._deaf = self._last

    # ---- answering

    def _begin(self, request: Request) -> None:
        self._current = request
        if request is self._websocket:
            self._hand_over(request)
            return
        answering = self._server.shortcut(request)
        if answering is None:
            self.deadline = math.inf
            answering = Cycle(request, self._server)
        self._answering = answering
        if request.early:
            self._catch_up(answering, request)
        if self.write_paused:
            answering.pause()

    def _catch_up(self, answering: Answering, request: Request) -> None:
        for part in request.early or ():
            answering.body(part)
        if request.whole:
            answering.body_ended()

    def _queue(self, request: Request) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(request)
        else:
            self._refuse(429, f"{MOST_WAITING} requests wait for their answers already")

    # ---- other protocols

    def _note_upgrade(self, request: Request) -> None:
        """The parser reads nothing behind a request that asks for another protocol."""
        if self._server.tunnel is not None and asks_for_websocket(request):
            self._websocket = request
        else:
            self._again = without_upgrade(request)

    def _upgrade(self, rest: bytes) -> None:
        again, self._again = self._again, b""
        if self._deaf:
            return
        if again:
            # not one that is spoken here: the request is read once more, as if it had not asked
            self._parser = httptools.HttpRequestParser(self)
            self._feed(again + rest)
        elif self._websocket is not None:
            self._held.append(rest)
            self.hear_less()
            if self._current is None:
                self._begin(self._websocket)
            else:
                self._queue(self._websocket)

    def _hand_over(self, request: Request) -> None:
        """From here on the connection is a tunnel's."""
        assert self._server.tunnel is not None  # noqa: S101  (asked before)
        tunnel = self._server.tunnel(self._server)
        tunnel.connection_made(self.transport)
        self._server.went(self)
        self._deadlines.forget(self)
        self.transport.set_protocol(tunnel)
        tunnel.data_received(head_of(request))
        held, self._held = b"".join(self._held), []
        self.hear_on()
        if held:
            tunnel.data_received(held)
