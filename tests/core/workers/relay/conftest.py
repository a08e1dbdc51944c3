"""A relay between a visitor, who speaks raw HTTP, and a program, which says whatever a test wants."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.workers.conftest import serve

from kedge.errors import KedgeError
from kedge.workers.relay.headers import Visitor, request_headers
from kedge.workers.relay.relay import Bounds, NoAnswer, Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.core.workers.conftest import Site

    Say = Callable[["Talk"], Awaitable[None]]


class Talk:
    """One connection to the program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> bytes:
        """The head of the next request. Raises `IncompleteReadError` once there is none."""
        return await self.reader.readuntil(b"\r\n\r\n")

    def say(self, data: bytes) -> None:
        self.writer.write(data)


class Program:
    """Listens, and does on each connection what the test said."""

    def __init__(self) -> None:
        self.say: Say
        self.heard: list[bytes] = []
        self.talks: list[Talk] = []
        self.gone = asyncio.Event()
        self.address = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=1 << 20)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for talk in self.talks:
            talk.writer.transport.abort()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def answers(self, *answers: bytes) -> None:
        """Each request, on whichever connection, gets the next answer; the last one ever after."""
        left = list(answers)

        async def say(talk: Talk) -> None:
            while True:
                self.heard.append(await talk.hear())
                talk.say(left.pop(0) if len(left) > 1 else left[0])

        self.say = say

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = Talk(reader, writer)
        self.talks.append(talk)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.say(talk)
        writer.close()
        self.gone.set()
        self._tasks.discard(task)


class Front:
    """What the gateway is to a relay, and no more."""

    def __init__(self, program: Program) -> None:
        self.relay = Relay(Bounds(first_byte=2.0, idle=2.0, body=1_000_000))
        self.errors: list[KedgeError] = []
        self.refused = asyncio.Event()
        self._program = program

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = request_headers(scope["headers"], Visitor("192.0.2.1", "http", b"hello.localhost"), b"id-1")
        try:
            await self.relay.pass_on(self._program.address, headers, scope, receive, send)
        except KedgeError as error:
            self.errors.append(error)
            self.refused.set()
            status = 504 if isinstance(error, NoAnswer) and error.late else error.status
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": str(error).encode()})


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    made = Program()
    await made.listen()
    yield made
    await made.close()


@pytest.fixture
async def front(program: Program) -> AsyncIterator[Front]:
    made = Front(program)
    yield made
    made.relay.close()


@pytest.fixture
async def site(front: Front) -> AsyncIterator[Site]:
    async with serve(front) as made:
        yield made
