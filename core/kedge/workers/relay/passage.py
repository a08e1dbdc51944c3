"""One request relayed within the very turns of the event loop in which its bytes come.

No task, no future, no timer of its own. That is possible whenever an instance and an idle connection to it
are at hand; everything else takes the long way, by `Relay.pass_on`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kedge.http.answering import BODILESS, CONTINUE, STATUS_LINES, whole_answer
from kedge.http.date import http_date
from kedge.http.uptake import LEAST
from kedge.workers.relay.headers import to_visitors
from kedge.workers.relay.relay import IDEMPOTENT, BodyLate, BodyTooLarge, NoAnswer

if TYPE_CHECKING:
    from kedge.errors import KedgeError
    from kedge.http.request import Request
    from kedge.workers.relay.headers import Passing
    from kedge.workers.relay.relay import Relay
    from kedge.workers.relay.upstream import Answer, Upstream, UpstreamClosed
    from kedge.workers.static import Reply

CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
CLOSE = b"connection: close\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Passage(ABC):
    """Between a visitor's connection and an instance's, which it brings back."""

    __slots__ = (
        "_address",
        "_chunked",
        "_connection",
        "_heard",
        "_out",
        "_paused",
        "_received",
        "_relay",
        "_upstream",
        "request",
        "sent",
        "status",
    )

    def __init__(self, relay: Relay, address: str, upstream: Upstream, request: Request) -> None:
        """`upstream` is an idle connection to `address`; nothing is sent yet."""
        self.request = request
        self._relay = relay
        self._address = address
        self._upstream = upstream
        self._connection = request.connection
        #: of the answer; 0 until it has begun
        self.status = 0
        #: bytes of the answer's body so far
        self.sent = 0
        #: bytes of the request's body so far, and when the time for the answer began
        self._received = self._heard = 0
        self._chunked = False
        self._paused = False
        self._out: list[bytes] = []

    # ---- what it is about, beside the bytes

    @abstractmethod
    def added(self, answer: Answer) -> bytes:
        """The head of the answer has come; lines of headers to add to it."""

    @abstractmethod
    def refusal(self, error: KedgeError) -> Reply:
        """What the visitor is told who gets no answer."""

    @abstractmethod
    def over(self) -> None:
        """It is done with, however it went; `status` and `sent` tell. Called once."""

    # ---- how it goes

    @property
    def begun(self) -> bool:
        """Whether any of the answer was sent."""
        return self.status != 0

    def begin(self, headers: bytes) -> Passage:
        """Ask, with these lines of headers. The length of a body has been found in order before."""
        request, connection = self.request, self._connection
        ending = CHUNKED if request.chunked else b"\r\n"
        method = request.method
        head = b"%b %b HTTP/1.1\r\n%b%b" % (method, request.target, headers, ending)
        self._upstream.send_head(head, bodiless=method == b"HEAD", taker=self)
        if request.expects:
            connection.transport.write(CONTINUE)
        connection.give(self._relay.bounds.first_byte)
        return self

    # ---- the visitor's side

    def body(self, data: bytes) -> None:
        """Pass a part of the request's body on. The time for an answer begins anew with each kilobyte."""
        self._received += len(data)
        if self._received > self._relay.bounds.body:
            self._give_up(BodyTooLarge(f"a request may have {self._relay.bounds.body} bytes"))
            return
        self._upstream.write(b"%x\r\n%b\r\n" % (len(data), data) if self.request.chunked else data)
        if not self.begun and self._received - self._heard >= LEAST:
            self._heard = self._received
            self._connection.give(self._relay.bounds.first_byte)

    def body_ended(self) -> None:
        """The request is whole."""
        if not self.begun:
            self._connection.give(self._relay.bounds.first_byte)
        if self.request.chunked:
            self._upstream.write(LAST_CHUNK)

    def left(self) -> None:
        """The visitor has gone: whoever works for him hears of it."""
        self._upstream.close()
        self.over()

    def pause(self) -> None:
        """The visitor is slow to read."""
        self._paused = True
        self._upstream.hear_less()

    def resume(self) -> None:
        """He has caught up."""
        self._paused = False
        self._upstream.hear_on()
        self._connection.give(self._relay.bounds.idle if self.begun else self._relay.bounds.first_byte)

    def expired(self) -> None:
        """It took too long: to answer, to go on answering, or to send or to take what is sent."""
        if self.request.whole or self.begun:
            self._give_up(NoAnswer("it took too long to answer", asked=True, late=True))
        else:
            self._give_up(BodyLate("the rest of the request did not come"))

    # ---- the instance's side

    def answered(self, answer: Answer) -> None:
        """Tell the visitor the head."""
        request, shape, status = self.request, answer.shape, answer.status
        if b"content-length" in shape.said or request.method == b"HEAD" or status in BODILESS:
            ending = b"\r\n"
        elif request.old:
            request.keep_alive, ending = False, b"\r\n"
        else:
            self._chunked, ending = True, CHUNKED
        if not request.whole:
            request.keep_alive = False
        if not request.keep_alive:
            ending = CLOSE + ending
        self.status = status
        passing: Passing = shape[to_visitors]
        told = passing.lines(answer.values) + self.added(answer) + ending
        self._out.append(b"%bdate: %b\r\n%b" % (STATUS_LINES[status], http_date(), told))

    def part(self, data: bytes) -> None:
        """A part of the answer's body, written with what else comes in this turn."""
        self.sent += len(data)
        if self._chunked:
            self._out.append(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._out.append(data)

    def flush(self) -> None:
        """Write what has come in this turn. The answer may be silent for a while from now."""
        out = self._out
        if out:
            self._connection.transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
            self._connection.give(self._relay.bounds.idle)

    def ended(self) -> None:
        """The answer is whole."""
        if self._chunked:
            self._out.append(LAST_CHUNK)
        self._connection.transport.write(b"".join(self._out))
        if self._paused:
            # the visitor may just have been too slow for this; the next one need not be
            self._upstream.hear_on()
        if self.request.whole:
            self._relay.connections.give_back(self._address, self._upstream)
        else:
            self._upstream.close()
        self.over()
        self._connection.finished()

    def failed(self, error: UpstreamClosed) -> None:
        """The instance's connection has ended too soon."""
        request = self.request
        may_repeat = self._upstream.used and not request.has_body and request.method in IDEMPOTENT_METHODS
        if self.begun or not may_repeat:
            self._give_up(NoAnswer(str(error), asked=True))
        else:
            self.over()
            self._connection.answer_anew(request)

    def hold_back(self) -> None:
        """The instance is slow to read."""
        self._connection.hear_less()

    def go_on(self) -> None:
        """It has caught up."""
        self._connection.hear_on()

    def _give_up(self, error: KedgeError) -> None:
        """Tell the visitor what is wrong, or break off what he has begun to read."""
        self._upstream.close()
        if self.begun:
            self.over()
            self._connection.break_off()
            return
        request, reply = self.request, self.refusal(error)
        self.status, self.sent = reply.status, len(reply.body)
        self.over()
        if not request.whole:
            request.keep_alive = False
        self._connection.transport.write(
            whole_answer(
                reply.status,
                reply.headers,
                reply.body,
                close=not request.keep_alive,
                bodiless=request.method == b"HEAD",
            )
        )
        self._connection.finished()


IDEMPOTENT_METHODS = frozenset(method.encode() for method in IDEMPOTENT)
