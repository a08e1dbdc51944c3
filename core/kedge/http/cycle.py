"""A request that an ASGI application answers, in a task of its own."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import structlog

from kedge.http.answering import BODILESS, CONTINUE, STATUS_LINES, lines, whole_answer
from kedge.http.date import http_date
from kedge.http.uptake import LEAST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message, Scope

    from kedge.http.connection import Connection
    from kedge.http.request import Header, Request
    from kedge.http.server import Server

log = structlog.get_logger("http")

#: bytes of a body that lie here before the visitor is made to wait
HIGH_WATER = 64 * 1024
#: a head that the application gives must not become two
BROKEN_NAME = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\\[\]={}"]')
BROKEN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
FAILED = b"Internal Server Error"


class Cycle:
    """Runs the application for one request, and frames what it sends."""

    def __init__(self, request: Request, server: Server) -> None:
        """Begin at once."""
        self.request = request
        self.begun = False
        self._connection: Connection = request.connection
        self._parts: list[bytes] = []
        self._size = 0
        self._told_end = False
        self._gone = False
        self._complete = False
        self._continue = request.expects
        self._chunked = False
        #: bytes of the body that are still to be sent, if that was said
        self._left: int | None = None
        self._status = 0
        self._stalled = server.limits.stalled
        #: seconds for more of the body to come, and how many bytes of it came meanwhile
        self._patience, self._came = self._stalled, 0
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        server.spawn(self._run(server))

    # ---- from the connection

    def body(self, data: bytes) -> None:
        """A part of the request's body."""
        self._parts.append(data)
        self._size += len(data)
        self._came += len(data)
        if self._size > HIGH_WATER:
            self._connection.hear_less()
        self._news.set()

    def body_ended(self) -> None:
        """The request is whole."""
        self._news.set()

    def left(self) -> None:
        """The visitor has gone."""
        self._gone = True
        self._news.set()
        self._writable.set()

    def expired(self) -> None:
        """The visitor does not send what he has announced, or does not take his answer."""
        if self.begun:
            self._connection.break_off()
        else:
            self._connection.refuse_rest(408, "the rest of the request did not come")

    def pause(self) -> None:
        """The visitor is slow to read."""
        if not self._gone:
            self._writable.clear()

    def resume(self) -> None:
        """He has caught up."""
        self._writable.set()

    # ---- the application's side

    async def _run(self, server: Server) -> None:
        try:
            await server.app(self._scope(), self.receive, self.send)
        except Exception:
            log.exception("a request was not answered", path=self.request.target.decode("latin-1"))
        except BaseException:
            self._fail()
            raise
        if not self._complete:
            self._fail()

    def _fail(self) -> None:
        """The application has not done what it should: say so, or break the answer off."""
        if self._gone:
            return
        if self.begun:
            self._gone = True
            self._connection.break_off()
            return
        self.begun = self._complete = True
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(FAILED))]
        bodiless = self.request.method == b"HEAD"
        self.request.keep_alive = False
        self._connection.transport.write(whole_answer(500, headers, FAILED, close=True, bodiless=bodiless))
        self._connection.finished()

    def _scope(self) -> Scope:
        request, connection = self.request, self._connection
        raw_path, _, query = request.target.partition(b"?")
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.version,
            "server": connection.address,
            "client": connection.client,
            "scheme": "http",
            "method": request.method.decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": request.headers,
            "state": request.state,
        }

    async def receive(self) -> Message:
        """The next part of the body; once that has ended, the visitor's leaving or the answer's end."""
        if self._continue and not self._gone:
            self._connection.transport.write(CONTINUE)
        self._continue = False
        while not (self._gone or self._complete or self._parts or self._ends_now()):
            self._news.clear()
            self._connection.hear_on()
            await self._hear()
        if self._gone or self._complete:
            return {"type": "http.disconnect"}
        body, self._parts, self._size = b"".join(self._parts), [], 0
        self._told_end = self.request.whole
        return {"type": "http.request", "body": body, "more_body": not self._told_end}

    async def _hear(self) -> None:
        """Wait for the visitor. While it is his turn he has to go on: little is enough, but not ever less."""
        if self.request.whole:
            await self._news.wait()
            return
        if self._came >= LEAST:
            self._patience, self._came = self._stalled, 0
        began = self._loop.time()
        self._connection.give(max(self._patience, 0.0))
        await self._news.wait()
        self._patience -= self._loop.time() - began
        if not self._gone:
            self._connection.give_for_ever()

    def _ends_now(self) -> bool:
        return self.request.whole and not self._told_end

    async def send(self, message: Message) -> None:
        """A part of the answer. Raises `RuntimeError` for what makes none."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self._gone:
            return
        kind = message["type"]
        if not self.begun:
            if kind != "http.response.start":
                raise RuntimeError(f"an answer begins with http.response.start, not with {kind}")
            self._send_head(message["status"], list(message.get("headers", ())))
        elif kind != "http.response.body" or self._complete:
            raise RuntimeError(f"{kind} does not follow here")
        else:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))

    def _send_head(self, status: int, headers: list[Header]) -> None:
        request = self.request
        said = {name.lower(): value for name, value in headers}
        if any(BROKEN_NAME.search(name) or BROKEN_VALUE.search(value) for name, value in headers):
            raise RuntimeError("a header of the answer is broken")
        self._frame(status, said, headers)
        closes = b"close" in said.get(b"connection", b"").lower()
        request.keep_alive = request.keep_alive and not closes and request.whole
        if not request.keep_alive and not closes:
            headers.append((b"connection", b"close"))
        if b"date" not in said:
            headers.append((b"date", http_date()))
        self.begun, self._continue, self._status = True, False, status
        self._connection.transport.write(STATUS_LINES[status] + lines(headers) + b"\r\n")

    def _frame(self, status: int, said: Mapping[bytes, bytes], headers: list[Header]) -> None:
        """How the body of the answer will end."""
        if self._has_no_body(status):
            return
        self._chunked = said.get(b"transfer-encoding", b"").lower() == b"chunked"
        if b"content-length" in said:
            self._left = int(said[b"content-length"])
        elif not self._chunked and self.request.old:
            self.request.keep_alive = False
        elif not self._chunked:
            self._chunked = True
            headers.append((b"transfer-encoding", b"chunked"))

    def _has_no_body(self, status: int) -> bool:
        return self.request.method == b"HEAD" or status in BODILESS

    def _send_body(self, body: bytes, *, more: bool) -> None:
        write = self._connection.transport.write
        if self._has_no_body(self._status):
            pass
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            data = data if more else data + b"0\r\n\r\n"
            if data:
                write(data)
        else:
            self._count(len(body), more=more)
            if body:
                write(body)
        if not more:
            self._complete = True
            self._news.set()
            self._connection.finished()

    def _count(self, size: int, *, more: bool) -> None:
        if self._left is None:
            return
        self._left -= size
        if self._left < 0 or (self._left and not more):
            raise RuntimeError("the answer has another length than its head says")
