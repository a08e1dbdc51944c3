"""A relay of HTTP/1.1 that does what Kedge's gateway does to a request, and nothing else.

`python bench/bare_relay.py PORT` listens on a free port, which it prints, and passes everything on to `PORT`:
connections kept alive on both sides, bodies streamed with back-pressure, hop-by-hop headers dropped,
forwarded headers and a request id added. No routing, no instances, no limits, no measurement, no framework.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

import httptools
import uvloop

HOP_BY_HOP = frozenset(
    {b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
SAID_ANEW = HOP_BY_HOP | {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"}
HIGH_WATER = 256 * 1024


class Visitor(asyncio.Protocol):
    """A visitor's connection; requests on it are answered one after the other."""

    def __init__(self, upstreams: list[Upstream], port: int) -> None:
        self.upstreams = upstreams
        self.port = port
        self.parser = httptools.HttpRequestParser(self)
        self.upstream: Upstream | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.address = transport.get_extra_info("peername")[0].encode()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunked = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        lines = [b"%b %b HTTP/1.1" % (method, self.target)]
        for name, value in self.headers:
            if name == b"transfer-encoding":
                self.chunked = True
            if name == b"host":
                host = value
            if name not in SAID_ANEW:
                lines.append(b"%b: %b" % (name, value))
        self.request_id = uuid4().hex.encode()
        lines += [
            b"x-forwarded-for: " + self.address,
            b"x-forwarded-proto: http",
            b"x-forwarded-host: " + host,
            b"x-request-id: " + self.request_id,
        ]
        if self.chunked:
            lines.append(b"transfer-encoding: chunked")
        self.say(b"\r\n".join(lines) + b"\r\n\r\n")
        if self.upstreams:
            self.use(self.upstreams.pop())
        else:
            asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self.upstreams), "127.0.0.1", self.port)
        self.use(upstream)

    def use(self, upstream: Upstream) -> None:
        self.upstream = upstream
        upstream.visitor = self
        waiting, self.waiting = self.waiting, []
        upstream.transport.write(b"".join(waiting))

    def on_body(self, body: bytes) -> None:
        self.say(b"%x\r\n%b\r\n" % (len(body), body) if self.chunked else body)

    def on_message_complete(self) -> None:
        if self.chunked:
            self.say(b"0\r\n\r\n")

    def say(self, data: bytes) -> None:
        if self.upstream is None:
            self.waiting.append(data)
        else:
            self.upstream.transport.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.transport.abort()


class Upstream(asyncio.Protocol):
    """A connection to whoever answers."""

    def __init__(self, upstreams: list[Upstream]) -> None:
        self.upstreams = upstreams
        self.visitor: Visitor | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.headers: list[tuple[bytes, bytes]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self.visitor is not None
        headers, self.headers = self.headers, []
        self.chunked = any(name == b"transfer-encoding" for name, _ in headers)
        lines = [b"HTTP/1.1 %d OK" % self.parser.get_status_code()]
        lines += [b"%b: %b" % header for header in headers if header[0] not in HOP_BY_HOP]
        lines.append(b"x-request-id: " + self.visitor.request_id)
        if self.chunked:
            lines.append(b"transfer-encoding: chunked")
        self.visitor.transport.write(b"\r\n".join(lines) + b"\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        assert self.visitor is not None
        self.visitor.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if self.chunked else body)

    def on_message_complete(self) -> None:
        visitor, self.visitor = self.visitor, None
        assert visitor is not None
        visitor.upstream = None
        if self.chunked:
            visitor.transport.write(b"0\r\n\r\n")
        self.upstreams.append(self)

    def pause_writing(self) -> None:
        if self.visitor is not None:
            self.visitor.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.visitor is not None:
            self.visitor.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.upstreams:
            self.upstreams.remove(self)
        if self.visitor is not None:
            self.visitor.transport.abort()


async def main() -> None:
    """Relay until ended."""
    upstreams: list[Upstream] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: Visitor(upstreams, int(sys.argv[1])), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
