"""One connection to whoever answers: requests go out, one after the other, and answers come in."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from kedge.http.answering import BODILESS
from kedge.http.hearing import Hearing
from kedge.http.shape import SHAPES

if TYPE_CHECKING:
    from kedge.http.shape import Names, Shape
    from kedge.workers.relay.headers import Header

#: bytes that lie here before the sender is made to wait
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
LARGEST_HEAD = 64 * 1024
MOST_HEADERS = 200
CHUNKED = [b"chunked"]


class UpstreamClosed(Exception):
    """The connection ended in the middle of an answer; `answered` tells whether any of it had come."""

    def __init__(self, message: str, *, answered: bool) -> None:
        """`message` is for people."""
        super().__init__(message)
        self.answered = answered


class Answer:
    """The head of an answer."""

    __slots__ = ("shape", "status", "values")

    def __init__(self, status: int, shape: Shape, values: list[bytes]) -> None:
        """`shape` are the names of its headers, `values` what stands behind each."""
        self.status = status
        self.shape = shape
        self.values = values

    @property
    def headers(self) -> list[Header]:
        """Names and values."""
        return list(zip(self.shape.names, self.values, strict=True))

    @property
    def chunked(self) -> bool:
        """Whether a transfer coding tells where it ends."""
        return b"transfer-encoding" in self.shape.said

    def find(self, name: bytes) -> list[bytes]:
        """The values of a header."""
        return [value for said, value in zip(self.shape.names, self.values, strict=True) if said == name]


class Taker(Protocol):
    """Takes an answer as it comes, within the turn of the event loop in which it comes."""

    def answered(self, answer: Answer) -> None:
        """The head."""
        ...

    def part(self, data: bytes) -> None:
        """A part of the body."""
        ...

    def flush(self) -> None:
        """That was all for now."""
        ...

    def ended(self) -> None:
        """The answer is whole, and the connection free for another exchange if it is `reusable`."""
        ...

    def failed(self, error: UpstreamClosed) -> None:
        """The connection ended before the answer did."""
        ...

    def hold_back(self) -> None:
        """The other side is slow to read the request's body."""
        ...

    def go_on(self) -> None:
        """It has caught up."""
        ...


class Upstream(asyncio.Protocol):
    """Speaks HTTP/1.1. One exchange at a time: `send_head`, bodies both ways, until `over`.

    Without a taker the answer is asked for by `answer` and `next_part`.
    """

    __slots__ = (
        "_answer",
        "_beside",
        "_bodiless",
        "_buffered",
        "_error",
        "_excess",
        "_got_head",
        "_hearing",
        "_loop",
        "_names",
        "_over",
        "_parser",
        "_parts",
        "_renew",
        "_taker",
        "_until_close",
        "_values",
        "_waiter",
        "_writable",
        "closed",
        "idle_since",
        "reusable",
        "transport",
        "used",
    )

    def __init__(self) -> None:
        """Not connected yet."""
        self.transport: asyncio.Transport | None = None
        self.closed = False
        #: whether another request may follow
        self.reusable = False
        #: whether it has carried an exchange before
        self.used = False
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        #: bytes since the last one of a body or the end of a head
        self._beside = 0
        self._parts: deque[bytes] = deque()
        self._buffered = 0
        self._hearing: Hearing | None = None
        self._bodiless = False
        self._got_head = False
        self._until_close = False
        self._over = True
        self._renew = False
        self._excess = False
        self._error: str | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._answer: Answer | None = None
        self._taker: Taker | None = None
        #: when it became idle, for whoever keeps it meanwhile
        self.idle_since = 0.0

    # ---- one exchange

    def send_head(self, data: bytes, *, bodiless: bool, taker: Taker | None = None) -> None:
        """Begin an exchange. `bodiless`: the answer has no body whatever its head says, as to HEAD.

        The answer goes to `taker`, if there is one, until it has ended or failed.
        """
        self._taker = taker
        self._bodiless = bodiless
        self._over = self._got_head = self._until_close = self.reusable = False
        self._beside = 0
        self._answer = None
        if self.transport is not None and not self.closed:
            self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send a part of the request."""
        if self.transport is not None and not self.closed:
            self.transport.write(data)

    @property
    def is_full(self) -> bool:
        """Whether the other side is slow to read."""
        return self._writable is not None

    async def drain(self) -> None:
        """Return once what was written has mostly gone out. Raises `UpstreamClosed`."""
        if self.closed:
            raise self._failure()
        if self._writable is not None:
            await asyncio.shield(self._writable)

    async def answer(self) -> Answer:
        """The head of the answer. Raises `UpstreamClosed`."""
        while self._answer is None:
            if self.closed:
                raise self._failure()
            await self._wait()
        return self._answer

    async def next_part(self) -> bytes:
        """A part of the answer's body, empty at its end. Raises `UpstreamClosed`."""
        while not self._parts:
            if self._over:
                return b""
            if self.closed:
                raise self._failure()
            await self._wait()
        part = self._parts.popleft() if len(self._parts) == 1 else self._all_parts()
        self._buffered -= len(part)
        if self._buffered <= LOW_WATER:
            self.hear_on()
        return part

    @property
    def body_at_hand(self) -> bool:
        """Whether `next_part` returns without waiting."""
        return bool(self._parts) or self._over

    @property
    def over(self) -> bool:
        """Whether the answer has come whole and was taken."""
        return self._over and not self._parts

    def give_up(self, reason: str) -> None:
        """End the connection, and tell who waits for its answer why."""
        self._fail(reason)

    def hear_less(self) -> None:
        """Read no more for now."""
        if self._hearing is not None and not self.closed:
            self._hearing.less()

    def hear_on(self) -> None:
        """Read on."""
        if self._hearing is not None and not self.closed:
            self._hearing.more()

    def close(self) -> None:
        """End the connection at once; nobody hears of it any more."""
        self._taker = None
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def _all_parts(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _failure(self) -> UpstreamClosed:
        return UpstreamClosed(self._error or "the connection was closed", answered=self._answer is not None)

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast("asyncio.Transport", transport)
        self._hearing = Hearing(self.transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._over:
            # nobody has asked for anything: what is said now must not become the next answer
            self._fail("it sent what was not asked for")
            return
        self._beside += len(data)
        if self._beside > LARGEST_HEAD + HIGH_WATER:
            self._fail(f"{'what stands beside' if self._got_head else 'the head of'} its answer is too large")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it changed the protocol, which nobody asked for")
        except httptools.HttpParserError as error:
            self._break(error)
        taker = self._taker
        if self._excess:
            # what was asked for has come whole, and stays; nothing else that is said here counts
            self.close()
        if self._renew:
            self._renew = False
            self._parser = httptools.HttpResponseParser(self)
        if taker is None:
            self._wake()
        elif self._over:
            # only now is it known that nothing follows the answer
            self._taker = None
            taker.ended()
        else:
            taker.flush()

    def _break(self, error: httptools.HttpParserError) -> None:
        if self._over:
            self._excess = True
        else:
            self._fail(f"its answer is not HTTP ({error})")

    def eof_received(self) -> bool:
        """The other side has said everything."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.closed = True
        if self._until_close and self._got_head and not self._over and exc is None and self._error is None:
            self._over = True
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._wake()
        taker, self._taker = self._taker, None
        if taker is not None and self._over:
            taker.ended()
        elif taker is not None:
            taker.failed(self._failure())

    def pause_writing(self) -> None:
        """The other side is slow to read."""
        self._writable = self._loop.create_future()
        if self._taker is not None:
            self._taker.hold_back()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        if self._taker is not None:
            self._taker.go_on()

    def _fail(self, reason: str) -> None:
        self._error = reason
        self.reusable = False
        taker = self._taker
        self.close()
        self._wake()
        if taker is not None:
            taker.failed(self._failure())

    # ---- httptools

    def on_message_begin(self) -> None:
        """A message comes: the one that was asked for, or one too many."""
        self._excess = self._over
        self._names.clear()
        self._values.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer, or one behind its body, which nobody is told."""
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._excess:
            return
        self._beside = 0
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100:
                self._fail("its answer has no status that HTTP knows")
            return
        if status == 204:
            self._forget_length()
        answer = Answer(status, SHAPES[tuple(self._names)], self._values)
        self._names, self._values = [], []
        if not answer.shape[_is_sized]:
            reason = _wrong_with(answer)
            if reason:
                self._fail(reason)
                return
            self._until_close = not (self._bodiless or answer.chunked or status in BODILESS)
        self._answer, self._got_head = answer, True
        if self._bodiless:
            # this parser waits for a body that will not come
            self._renew = True
            self._over = self.used = True
            self.reusable = self._parser.should_keep_alive() or _keeps_alive(answer)
        if self._taker is not None:
            self._taker.answered(answer)

    def _forget_length(self) -> None:
        """There is no body to measure (RFC 9110, 8.6): whoever believed a length would wait for it."""
        kept = [place for place, name in enumerate(self._names) if name.lower() != b"content-length"]
        self._names = [self._names[place] for place in kept]
        self._values = [self._values[place] for place in kept]

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._over:
            return
        self._beside = 0
        if self._taker is not None:
            self._taker.part(body)
            return
        self._parts.append(body)
        self._buffered += len(body)
        if self._buffered > HIGH_WATER:
            self.hear_less()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._got_head and not self._over:  # else 100 Continue or the like: the answer is still to come
            self._over = self.used = True
            self.reusable = self._parser.should_keep_alive() and not self._until_close


def _is_sized(names: Names) -> bool:
    """Whether there is a length and no more headers than there may be."""
    return b"content-length" in names and b"transfer-encoding" not in names and len(names) <= MOST_HEADERS


def _wrong_with(answer: Answer) -> str:
    if len(answer.values) > MOST_HEADERS:
        return "its answer has too many headers"
    if answer.chunked and [coding.strip().lower() for coding in answer.find(b"transfer-encoding")] != CHUNKED:
        return "its answer has a transfer coding that nobody asked for"
    return ""


def _keeps_alive(answer: Answer) -> bool:
    return not any(b"close" in value.lower() for value in answer.find(b"connection"))
