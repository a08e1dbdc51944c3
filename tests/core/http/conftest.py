"""A server of a small application, asked with raw bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httptools
import pytest
from tests.core.workers.conftest import serve

from kedge.http.server import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


#: bytes that do not fit into the buffers between a server and its visitor
LARGE = 16 * 1024 * 1024


class App:
    """Answers with what was asked, once its body is whole."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        #: `/slow` is answered when this is set
        self.go_on = asyncio.Event()
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        #: an answer is over, however it went
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self.ended.set()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", not scope["path"].startswith("/early")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body += message["body"]
            more = message["more_body"]
        self.asked.append((scope["method"], scope["path"], body))
        self.headers.append(list(scope["headers"]))
        self.arrived.set()
        if scope["path"] == "/slow":
            await self.go_on.wait()
        if scope["path"] == "/waits":
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
        said = b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body)
        if scope["path"] in {"/large", "/early-and-large"}:
            said = b"x" * LARGE
        headers = [] if scope["path"] == "/unsized" else [(b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for start in range(0, len(said), 65536):
            part = said[start : start + 65536]
            more = start + 65536 < len(said)
            await send({"type": "http.response.body", "body": part, "more_body": more})


class Heard:
    """Answers, one after the other, read as a strict client reads them."""

    def __init__(self, data: bytes, *methods: str) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.headers: dict[str, str] = {}
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.answers.append((status, self._body))
        self._body = b""


class Visitor:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> Heard:
        """All answers, to the end of the connection."""
        return Heard(await asyncio.wait_for(self.reader.read(), 30))


class Place:
    """A server and its application."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.port = port

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Visitor]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Visitor(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(self, data: bytes) -> Heard:
        """Say it all at once, and hear to the end."""
        async with self.visit() as visitor:
            visitor.say(data)
            return await visitor.rest()


@asynccontextmanager
async def place_of(limits: Limits) -> AsyncIterator[Place]:
    """A server with limits of its own."""
    app = App()
    async with serve(app, limits=limits) as site:
        yield Place(app, site.port)
        app.go_on.set()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with place_of(Limits(head=4096)) as made:
        yield made
