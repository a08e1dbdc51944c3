"""One request, from whoever asked to whoever answers, and the answer back; nothing of either is gathered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.errors import KedgeError
from kedge.http.uptake import LEAST
from kedge.workers.relay.headers import find, response_headers
from kedge.workers.relay.pool import Pool
from kedge.workers.relay.upstream import UpstreamClosed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from kedge.workers.relay.headers import Header
    from kedge.workers.relay.upstream import Answer, Upstream

#: they may be sent again if the connection turns out to be dead (RFC 9110, 9.2.2)
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
#: a request without a body is watched for its visitor's leaving once it has taken so long
WATCH_AFTER = 0.05
BODY_LIMIT = 413


class NoAnswer(KedgeError):
    """Whoever was asked did not answer. Nothing has been sent to the visitor yet."""

    code = 12092
    status = 502

    def __init__(
        self, message: str, *, asked: bool, late: bool = False, left: bool = False, gone: bool = False
    ) -> None:
        """`asked`: the request may have had an effect.

        `late`: there was no sign of an end; `left`: the visitor has gone, so that nobody waits for one;
        `gone`: nobody listens there, so that the visitor's request is as it was before.
        """
        super().__init__(message)
        #: whether it does no harm to ask somebody else, though the request may have had its effect
        self.repeatable = False
        self.asked = asked
        self.gone = gone
        self.late = late
        self.left = left


class BodyTooLarge(KedgeError):
    """The visitor sends more than he may."""

    code = 12097
    status = 413


class BodyLate(KedgeError):
    """The visitor does not send what he has announced."""

    code = 12065
    status = 408


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a request may take. Times are seconds, sizes bytes."""

    first_byte: float = 60.0
    idle: float = 300.0
    body: int = 100 * 1024 * 1024


class Relay:
    """Keeps connections to the addresses that it passes requests to."""

    def __init__(self, bounds: Bounds, tls: ssl.SSLContext | None = None) -> None:
        """No connection yet. `tls` is for addresses that begin with `tls:`."""
        self.bounds = bounds
        #: a passage takes them from here as well, and brings them back
        self.connections = Pool(tls)

    def forget(self, address: str) -> None:
        """Nobody listens there any more."""
        self.connections.forget(address)

    def close(self) -> None:
        """End the idle connections."""
        self.connections.close()

    async def pass_on(
        self,
        address: str,
        headers: Sequence[Header],
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        answered: Callable[[Answer], Sequence[Header]] = lambda _: (),
    ) -> None:
        """Ask `address` for what `scope` asks, with these headers, and send its answer.

        `answered` sees the answer's head first and returns headers to add to it. Raises `NoAnswer` and
        `BodyTooLarge` while nothing has been sent; an answer that breaks off later does so for the visitor.
        """
        exchange = _Exchange(self.bounds, scope, receive, send, answered)
        head = _head(scope, headers, chunked=exchange.chunked)
        upstream = await self._open(address, fresh=False)
        try:
            await exchange.run(upstream, head)
        except UpstreamClosed as error:
            again = upstream.used and not exchange.has_body and scope["method"] in IDEMPOTENT
            if error.answered:
                return
            if not again or exchange.late or exchange.left:
                raise exchange.no_answer(error) from None
            upstream.close()
            upstream = await self._open(address, fresh=True)
            try:
                await exchange.run(upstream, head)
            except UpstreamClosed as second:
                if second.answered:
                    return
                raise exchange.no_answer(second) from None
        finally:
            if upstream.over and exchange.body_sent:
                self.connections.give_back(address, upstream)
            else:
                upstream.close()

    async def _open(self, address: str, *, fresh: bool) -> Upstream:
        try:
            return await self.connections.take(address, fresh=fresh)
        except TimeoutError:
            raise NoAnswer("it does not take connections", asked=False, late=True) from None
        except OSError as error:
            gone = isinstance(error, (ConnectionRefusedError, FileNotFoundError))
            reason = f"it cannot be reached ({error.strerror or error})"
            raise NoAnswer(reason, asked=False, gone=gone) from None


class _Exchange:
    def __init__(
        self,
        bounds: Bounds,
        scope: Scope,
        receive: Receive,
        send: Send,
        answered: Callable[[Answer], Sequence[Header]],
    ) -> None:
        length = find(scope["headers"], b"content-length")
        self.chunked = find(scope["headers"], b"transfer-encoding") is not None
        self.has_body = self.chunked or (length is not None and length.strip(b"0") != b"")
        self.body_sent = not self.has_body
        self.late = self.left = False
        self._silent = False
        self._heard = 0.0
        self._bounds = bounds
        self._method = scope["method"]
        self._receive = receive
        self._send = send
        self._answered = answered
        self._too_large = length is not None and int(length) > bounds.body
        self._loop = asyncio.get_running_loop()
        self._side: list[asyncio.Task[None]] = []
        self._clock: asyncio.TimerHandle | None = None
        self._answering = False

    async def run(self, upstream: Upstream, head: bytes) -> None:
        if self._too_large:
            raise self._body_too_large()
        upstream.send_head(head, bodiless=self._method == "HEAD")
        self._watching = self._loop.call_later(WATCH_AFTER, self._watch, upstream)
        if self.has_body:
            self._side.append(asyncio.create_task(self._pump(upstream)))
        try:
            answer = await upstream.answer()
            self._answering = True
            if self._clock is not None:
                self._clock.cancel()
            await self._send_answer(upstream, answer)
        except UpstreamClosed:
            if self._too_large:
                raise self._body_too_large() from None
            if self._silent:
                raise BodyLate("the rest of the request did not come") from None
            raise
        finally:
            self._watching.cancel()
            if self._clock is not None:
                self._clock.cancel()
            for task in self._side:
                task.cancel()
            self._side.clear()

    def no_answer(self, error: UpstreamClosed) -> NoAnswer:
        failure = NoAnswer(str(error), asked=True, late=self.late, left=self.left)
        failure.repeatable = (
            self._method in IDEMPOTENT and not self.has_body and not self.late and not self.left
        )
        return failure

    async def _send_answer(self, upstream: Upstream, answer: Answer) -> None:
        headers = [*response_headers(answer.headers), *self._answered(answer)]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while True:
            if upstream.body_at_hand:
                part = await upstream.next_part()
            else:
                clock = self._loop.call_later(self._bounds.idle, self._run_out, upstream)
                try:
                    part = await upstream.next_part()
                finally:
                    clock.cancel()
            more = not upstream.over
            await self._send({"type": "http.response.body", "body": part, "more_body": more})
            if not more:
                return

    async def _pump(self, upstream: Upstream) -> None:
        """Pass on the visitor's body; his leaving ends the exchange."""
        sent = heard = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._leave(upstream)
                return
            body: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            sent += len(body)
            if sent - heard >= LEAST or not more:
                heard, self._heard = sent, self._loop.time()
            if sent > self._bounds.body:
                self._too_large = True
                upstream.give_up("the visitor sends too much")
                return
            if self.chunked:
                data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
                upstream.write(data if more else data + b"0\r\n\r\n")
            elif body:
                upstream.write(body)
            if not more:
                self.body_sent = True
                break
            try:
                await upstream.drain()
            except UpstreamClosed:
                return
        await self._see_off(upstream)

    def _watch(self, upstream: Upstream) -> None:
        """It is not answered at once: from now on see whether the visitor leaves, and when time is up."""
        if not self.has_body:
            self._side.append(asyncio.create_task(self._see_off(upstream)))
        if not self._answering:
            self._clock = self._loop.call_later(
                max(self._bounds.first_byte - WATCH_AFTER, 0.0), self._run_out, upstream
            )

    async def _see_off(self, upstream: Upstream) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not upstream.over:
            self._leave(upstream)

    def _leave(self, upstream: Upstream) -> None:
        self.left = True
        upstream.give_up("the visitor has left")

    def _run_out(self, upstream: Upstream) -> None:
        """The time for an answer runs from the last kilobyte that the visitor sent."""
        left = self._heard + self._bounds.first_byte - self._loop.time()
        if left > 0 and not self._answering:
            self._clock = self._loop.call_later(left, self._run_out, upstream)
            return
        self.late = True
        self._silent = not (self.body_sent or self._answering or upstream.is_full)
        upstream.give_up("it took too long to answer")

    def _body_too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"a request may have {self._bounds.body} bytes")


def _head(scope: Scope, headers: Sequence[Header], *, chunked: bool) -> bytes:
    target = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), target)]
    lines += [b"%b: %b" % header for header in headers]
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"
