"""A relay of HTTP/1.1 that does to a request what Kedge's gateway does, written for nothing but speed.

`python bench/bare_relay.py PORT` listens on a free port, which it prints, and passes everything on to `PORT`:
connections kept alive on both sides and asked again when one turns out to be dead, bodies streamed with
back-pressure, WebSockets, hop-by-hop headers dropped, forwarded headers and a request id added, limits on
heads, bodies and times, leaving visitors passed on, one write for what comes in one turn. What is left out is
what the gateway is for: which version of which worker a request is for, and which instance of it is free;
and its plugins, measurements, logs and settings.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

import httptools
import uvloop

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
SAID_ANEW = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"cf-connecting-ip",
        b"cf-visitor",
        b"x-real-ip",
        b"x-request-id",
    }
)
NOT_UP = HOP_BY_HOP | SAID_ANEW
NOT_DOWN = HOP_BY_HOP | {b"date"}
USUAL = frozenset({b"keep-alive", b"close"})
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
HIGH_WATER = 256 * 1024
LARGEST_HEAD = 32 * 1024
LARGEST_BODY = 100 * 1024 * 1024
MOST_WAITING = 128
MOST_IDLE = 64
UPSTREAM_IDLE, HEAD_WITHIN, FIRST_BYTE, SILENCE, KEEP_ALIVE = 4.0, 30.0, 60.0, 300.0, 75.0
line = b": ".join


class Relay:
    """What all connections share."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[Upstream] = []
        self.visitors: set[Visitor] = set()
        self.loop = asyncio.get_running_loop()
        self.random, self.at = b"", 0
        self.second, self.date = 0, b""

    def request_id(self) -> bytes:
        at = self.at
        if at == len(self.random):
            self.random, at = os.urandom(4096), 0
        self.at = at + 16
        return self.random[at : at + 16].hex().encode()

    def now(self) -> bytes:
        second = int(time.time())
        if second != self.second:
            self.second, self.date = second, formatdate(second, usegmt=True).encode()
        return self.date

    async def sweep(self) -> None:
        """The one timer there is."""
        while True:
            await asyncio.sleep(1)
            now = self.loop.time()
            for visitor in [one for one in self.visitors if one.deadline < now]:
                visitor.late()
            while self.idle and now - self.idle[0].since > UPSTREAM_IDLE:
                self.idle.pop(0).transport.abort()


class Visitor(asyncio.Protocol):
    """A visitor's connection; requests on it are answered one after the other."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.parser = httptools.HttpRequestParser(self)
        self.upstream: Upstream | None = None
        self.other: asyncio.Transport | None = None
        self.held: list[bytes] = []
        self.waiting: deque[tuple[bytes, bytes, bytes]] = deque()
        self.unsent: list[bytes] = []
        self.busy = self.reading = self.last = self.begun = False
        self.head_bytes = self.body_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        address = transport.get_extra_info("peername")[0].encode()
        self.told = (
            b"x-forwarded-for: %b\r\nx-real-ip: %b\r\ncf-connecting-ip: %b\r\n"
            b'x-forwarded-proto: http\r\ncf-visitor: {"scheme":"http"}\r\n' % (address, address, address)
        )
        self.relay.visitors.add(self)
        self.deadline = self.relay.loop.time() + HEAD_WITHIN

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)
        elif self.busy and not self.reading:
            self.held.append(data)
            self.transport.pause_reading()
        else:
            self.feed(data)

    def feed(self, data: bytes) -> None:
        self.head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.held.append(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self.last:
                self.refuse(400)
        if self.head_bytes > LARGEST_HEAD and not self.busy:
            self.refuse(431)

    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:  # noqa: C901, PLR0912  (one function is quicker than several)
        self.head_bytes = 0
        parser = self.parser
        method, upgrade = parser.get_method(), parser.should_upgrade()
        kept, dropped, hosts, host, self.chunked = [], NOT_UP, 0, b"", False
        for header in self.headers:
            name, value = header
            if name in dropped:
                if name == b"transfer-encoding":
                    self.chunked = True
                elif name == b"connection" and value.lower() not in USUAL:
                    dropped |= {token.strip().lower() for token in value.split(b",")} - {
                        b"host",
                        b"content-length",
                    }
                elif name == b"expect":
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            else:
                kept.append(header)
                if name == b"host":
                    hosts += 1
                    host = value
                elif name == b"content-length":
                    self.reading = int(value) > 0
                    if int(value) > LARGEST_BODY:
                        self.refuse(413)
                        return
        if hosts != 1 or self.target[:1] != b"/":
            self.refuse(400)
            return
        if len(dropped) > len(NOT_UP):
            kept = [header for header in kept if header[0] not in dropped]
        self.reading = self.reading or self.chunked
        self.body_bytes = 0
        request_id = self.relay.request_id()
        head = b"%b %b HTTP/1.1\r\n%b\r\n%bx-forwarded-host: %b\r\nx-request-id: %b\r\n%b\r\n" % (
            method,
            self.target,
            b"\r\n".join(map(line, kept)),
            self.told,
            host,
            request_id,
            b"connection: upgrade\r\nupgrade: websocket\r\n"
            if upgrade
            else b"transfer-encoding: chunked\r\n"
            if self.chunked
            else b"",
        )
        self.last = not parser.should_keep_alive()
        if not self.busy:
            self.ask(method, head, request_id, upgrade=upgrade)
        elif len(self.waiting) < MOST_WAITING:
            self.waiting.append((method, head, request_id))
        else:
            self.refuse(429)

    def ask(self, method: bytes, head: bytes, request_id: bytes, *, upgrade: bool = False) -> None:
        self.busy, self.begun = True, False
        self.method, self.request_id, self.upgrade = method, request_id, upgrade
        self.deadline = self.relay.loop.time() + FIRST_BYTE
        self.again = None if self.reading or method not in IDEMPOTENT else head
        if self.relay.idle and not upgrade:
            upstream = self.upstream = self.relay.idle.pop()
            upstream.visitor = self
            upstream.transport.write(head)
        else:
            self.again = None
            self.unsent.append(head)
            self.relay.loop.create_task(self.connect())

    async def connect(self) -> None:
        try:
            _, upstream = await self.relay.loop.create_connection(
                lambda: Upstream(self.relay), "127.0.0.1", self.relay.port
            )
        except OSError:
            self.refuse(502)
            return
        self.upstream = upstream
        upstream.visitor = self
        unsent, self.unsent = self.unsent, []
        upstream.transport.write(b"".join(unsent))

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.body_bytes > LARGEST_BODY:
            self.refuse(413)
            return
        self.deadline = self.relay.loop.time() + FIRST_BYTE
        self.say(b"%x\r\n%b\r\n" % (len(body), body) if self.chunked else body)

    def on_message_complete(self) -> None:
        if self.reading:
            self.reading = False
            if self.chunked:
                self.say(b"0\r\n\r\n")

    def say(self, data: bytes) -> None:
        if self.upstream is None:
            self.unsent.append(data)
        else:
            self.upstream.transport.write(data)

    def answered(self) -> None:
        self.upstream, self.busy = None, False
        if (self.last and not self.waiting) or self.reading:
            self.transport.close()
        elif self.waiting:
            self.ask(*self.waiting.popleft())
        elif self.held:
            held, self.held = b"".join(self.held), []
            self.transport.resume_reading()
            self.feed(held)
        else:
            self.deadline = self.relay.loop.time() + KEEP_ALIVE

    def died(self, upstream: Upstream) -> None:
        """The upstream's connection ended before its answer did."""
        self.upstream = None
        if self.again is not None and upstream.used and not self.begun:
            head, self.again = self.again, None
            self.unsent.append(head)
            self.relay.loop.create_task(self.connect())
        elif self.begun:
            self.transport.abort()
        else:
            self.refuse(502)

    def refuse(self, status: int) -> None:
        self.last = True
        self.transport.write(STATUS[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def late(self) -> None:
        if self.busy and not self.begun:
            self.refuse(504)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.visitors.discard(self)
        if self.upstream is not None:
            self.upstream.visitor = None
            self.upstream.transport.abort()


class Upstream(asyncio.Protocol):
    """A connection to whoever answers."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.visitor: Visitor | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.out: list[bytes] = []
        self.used = self.over = self.keep = self.tunnel = self.bodiless = self.until_close = False
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        visitor = self.visitor
        if visitor is None:
            self.transport.abort()
            return
        if self.tunnel:
            visitor.transport.write(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.out.append(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.transport.abort()
            return
        out = self.out
        if out:
            visitor.transport.write(b"".join(out) if len(out) > 1 else out[0])
            out.clear()
        if self.over:
            self.end(visitor)
        else:
            visitor.deadline = self.relay.loop.time() + SILENCE

    def on_message_begin(self) -> None:
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:  # noqa: C901  (one function is quicker than several)
        visitor, status = self.visitor, self.parser.get_status_code()
        assert visitor is not None
        if 100 <= status < 200 and status != 101:
            return
        kept, dropped, sized, coded = [], NOT_DOWN, False, False
        for header in self.headers:
            name = header[0]
            if name in dropped:
                if name == b"connection" and header[1].lower() not in USUAL:
                    dropped |= {token.strip().lower() for token in header[1].split(b",")} - {
                        b"content-length"
                    }
                elif name == b"transfer-encoding":
                    coded = True
            else:
                kept.append(header)
                if name == b"content-length":
                    sized = True
        if len(dropped) > len(NOT_DOWN):
            kept = [header for header in kept if header[0] not in dropped]
        visitor.begun = True
        self.bodiless = visitor.method == b"HEAD"
        bodiless = self.bodiless or status in {101, 204, 304}
        self.chunked = not bodiless and not sized
        self.until_close = self.chunked and not coded
        kept.append((b"x-request-id", visitor.request_id))
        if self.chunked:
            kept.append((b"transfer-encoding", b"chunked"))
        if visitor.last:
            kept.append((b"connection", b"close"))
        if status == 101:
            kept += [header for header in self.headers if header[0] in {b"upgrade", b"connection"}]
            self.tunnel = True
            visitor.other = self.transport
        self.out.append(
            b"%bdate: %b\r\n%b\r\n\r\n"
            % (STATUS.get(status, STATUS[200]), self.relay.now(), b"\r\n".join(map(line, kept)))
        )
        if self.bodiless:
            self.over, self.keep = True, False

    def on_body(self, body: bytes) -> None:
        self.out.append(b"%x\r\n%b\r\n" % (len(body), body) if self.chunked else body)

    def on_message_complete(self) -> None:
        if self.chunked:
            self.out.append(b"0\r\n\r\n")
        self.over = not self.tunnel
        self.keep = self.parser.should_keep_alive()

    def end(self, visitor: Visitor) -> None:
        self.over, self.visitor, self.used = False, None, True
        if self.bodiless:
            self.parser = httptools.HttpResponseParser(self)
            self.transport.abort()
        elif not self.keep or visitor.reading or len(self.relay.idle) >= MOST_IDLE:
            self.transport.abort()
        else:
            self.since = self.relay.loop.time()
            self.relay.idle.append(self)
        visitor.answered()

    def pause_writing(self) -> None:
        if self.visitor is not None:
            self.visitor.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.visitor is not None:
            self.visitor.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.relay.idle:
            self.relay.idle.remove(self)
        visitor, self.visitor = self.visitor, None
        if visitor is None:
            return
        if self.tunnel:
            visitor.transport.close()
        elif self.until_close and visitor.begun and exc is None:
            visitor.transport.write(b"0\r\n\r\n")
            visitor.answered()
        else:
            visitor.died(self)


async def main() -> None:
    """Relay until ended."""
    relay = Relay(int(sys.argv[1]))
    server = await relay.loop.create_server(lambda: Visitor(relay), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    sweeping = relay.loop.create_task(relay.sweep())
    await server.serve_forever()
    sweeping.cancel()


if __name__ == "__main__":
    uvloop.run(main())
