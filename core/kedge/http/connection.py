"""A visitor's connection: requests are read from it, one after the other, and answered in their order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, cast

from kedge.http.answering import in_words
from kedge.http.cycle import Cycle
from kedge.http.farewell import Farewell
from kedge.http.hearing import Hearing
from kedge.http.reader import DEAF, Reader
from kedge.http.upgrade import hand_over
from kedge.http.uptake import Uptake

if TYPE_CHECKING:
    from kedge.http.answering import Answering
    from kedge.http.request import Request
    from kedge.http.server import Server

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
        "_answering",
        "_closing",
        "_current",
        "_deadlines",
        "_hearing",
        "_held",
        "_last_words",
        "_linger_until",
        "_reader",
        "_server",
        "_time",
        "_uptake",
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
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.client: tuple[str, int] | None = None
        #: his address; empty for one that came by a Unix socket
        self.visitor = ""
        self.address: tuple[str, int | None] | None = None
        self.deadline = math.inf
        #: whether the visitor is slow to read
        self.write_paused = False
        self._hearing: Hearing
        # ---- what is read
        self._reader = Reader(self, server.limits.head, tunnels=server.tunnel is not None)
        self._websocket: Request | None = None
        self._held: list[bytes] = []
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
        self._hearing.less()

    def hear_on(self) -> None:
        """Read on."""
        if not self._held:
            self._hearing.more()

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
            if self._reader.reading is not None and self._reader.reading is self._current:
                self._take_held()
        elif self._last_words:
            self._say_last()
        elif self._hearing.over:
            self._close()
        elif self._reader.in_head or self._hearing.paused:
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
        answering, self._answering, self._current, self._reader.reading = self._answering, None, None, None
        if answering is None or answering.begun:
            self.transport.abort()
        else:
            answering.left()
            self.refuse(status, reason)

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
        self._uptake, self._hearing = Uptake(self.transport), Hearing(self.transport)
        if full:
            self.transport.write(in_words(503, full))
            self._close()
        else:
            self.give(self._server.limits.head_within)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the request that is being answered is whole: then what follows it waits."""
        if self._reader.state is DEAF:
            return
        if self._current is not None and self._reader.reading is not self._current:
            self._held.append(data)
            self.hear_less()
            return
        self._reader.feed(data)

    def eof_received(self) -> bool:
        """The visitor says no more. If all he asked has come and no answer has begun, he may still listen."""
        request, answering = self._current, self._answering
        if (
            request is None
            or answering is None
            or answering.begun
            or self._reader.reading
            or self._reader.in_head
        ):
            return False
        self._hearing.over = True
        if not request.old:
            Farewell(self.transport).ask()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor has gone."""
        self._server.went(self)
        self._deadlines.forget(self)
        self._reader.state = DEAF
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
            self.give(LINGER_SECONDS if self._reader.state is DEAF else self._server.limits.stalled)
        elif self._answering is not None:
            self._answering.expired()
        elif self._reader.in_head and self._reader.state is not DEAF:
            self.refuse(408, f"a request's head has to come within {self._server.limits.head_within:g} s")
        else:
            # all that was said was taken, or nobody takes it
            self.transport.abort()

    # ---- reading

    def head_begun(self) -> None:
        """The head of a request has begun, and is not whole yet."""
        if self._current is None:
            self.give(self._server.limits.head_within)

    def asked(self, request: Request) -> None:
        """A request's head is whole, and in order: its turn may have come."""
        if self._current is None:
            self._begin(request)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(request)
        else:
            self.refuse(429, f"{MOST_WAITING} requests wait for their answers already")

    def part(self, request: Request, body: bytes) -> None:
        """A part of its body."""
        if request is self._current and self._answering is not None:
            self._answering.body(body)
        else:
            request.early = request.early or []
            request.early.append(body)

    def body_ended(self, request: Request) -> None:
        """It is whole, and had a body."""
        if request is self._current and self._answering is not None:
            self._answering.body_ended()

    def upgraded(self, request: Request, rest: bytes) -> None:
        """It asks for a WebSocket, and `rest` is no part of a request."""
        self._websocket = request
        self._held.append(rest)
        self.hear_less()
        self.asked(request)

    def broken(self, request: Request | None, reason: str) -> None:
        """In the middle of a request, if there is one, what comes cannot be read any further."""
        if request is not None and request is self._current:
            self.refuse_rest(400, reason)
            return
        if request is not None:
            self._waiting.remove(request)
        self.refuse(400, reason)

    def refuse(self, status: int, reason: str) -> None:
        """Read no more; say why when everything before is answered."""
        self._reader.state = DEAF
        self._last_words = in_words(status, reason)
        if self._current is None:
            self._say_last()

    def _take_held(self) -> None:
        """Read what lies here, and on."""
        held, self._held = b"".join(self._held), []
        self.hear_on()
        if held:
            self._reader.feed(held)

    def _read_on(self) -> None:
        """Wait for the next request, or take the one that lies here already."""
        self.give(self._server.limits.head_within)
        if self._held or self._hearing.paused:
            self._take_held()

    def _say_last(self) -> None:
        self.transport.write(self._last_words)
        self._linger()

    def _linger(self) -> None:
        """Close this side; what the visitor still says is thrown away, else he may never read the answer."""
        self._reader.state = DEAF
        self._held.clear()
        self.hear_on()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_until = self._time() + LONGEST_LINGER
        self._uptake.begin_anew()
        self.give(LINGER_SECONDS)

    def _close(self) -> None:
        """Close once the visitor has taken what is his, as long as he goes on to take it."""
        self._reader.state = DEAF
        self._uptake.begin_anew()
        self.transport.close()
        self.give(self._server.limits.stalled)

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

    def _hand_over(self, request: Request) -> None:
        """From here on the connection is a tunnel's."""
        held, self._held = b"".join(self._held), []
        hand_over(request, self._server, held)
        self._server.went(self)
        self._deadlines.forget(self)
        self.hear_on()
