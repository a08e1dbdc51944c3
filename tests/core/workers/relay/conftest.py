"""A relay between a visitor, who speaks raw HTTP, and a program, which says whatever a test wants."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.workers.conftest import serve

from kedge.errors import KedgeError
from kedge.http.answering import lines
from kedge.workers.relay.connect import connect
from kedge.workers.relay.headers import Visitor, introduction, request_headers, to_instances
from kedge.workers.relay.passage import Passage
from kedge.workers.relay.relay import Bounds, NoAnswer, Relay
from kedge.workers.relay.upstream import Upstream
from kedge.workers.static import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.core.workers.conftest import Site

    from kedge.http.request import Request
    from kedge.workers.relay.upstream import Answer
    from kedge.workers.static import Reply

    Say = Callable[["Talk"], Awaitable[None]]

VISITOR = Visitor("192.0.2.1", "http", b"hello.localhost")


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
        self._say: Say | None = None
        self._told = asyncio.Event()
        self.heard: list[bytes] = []
        self.talks: list[Talk] = []
        self.gone = asyncio.Event()
        self.address = ""
        self._server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def say(self) -> Say:
        assert self._say is not None
        return self._say

    @say.setter
    def say(self, say: Say) -> None:
        self._say = say
        self._told.set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=1 << 20)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._told.set()
        for talk in self.talks:
            talk.writer.transport.abort()
        while self.tasks:
            await asyncio.wait(self.tasks)

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
        self.tasks.add(task)
        talk = Talk(reader, writer)
        self.talks.append(talk)
        with suppress(asyncio.IncompleteReadError, ConnectionError, AssertionError):
            await self._told.wait()
            await self.say(talk)
        writer.close()
        self.gone.set()
        self.tasks.discard(task)


class Front:
    """What the gateway is to a relay, and no more."""

    def __init__(self, program: Program) -> None:
        self.relay = Relay(Bounds(first_byte=2.0, idle=2.0, body=1_000_000))
        self.errors: list[KedgeError] = []
        self.refused = asyncio.Event()
        self.program = program
        self.short = False
        self.passages = 0
        self.left = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = request_headers(scope["headers"], VISITOR, b"id-1")
        try:
            await self.relay.pass_on(self.program.address, headers, scope, receive, send)
        except KedgeError as error:
            reply = self.refuse(error)
            await send({"type": "http.response.start", "status": reply.status, "headers": []})
            await send({"type": "http.response.body", "body": reply.body})

    def refuse(self, error: KedgeError) -> Reply:
        self.errors.append(error)
        self.refused.set()
        return plain(504 if isinstance(error, NoAnswer) and error.late else error.status, str(error))

    async def warm(self) -> None:
        """Have a connection to the program at hand."""
        upstream = await connect(Upstream, self.program.address)
        upstream.reusable = True
        self.relay.connections.give_back(self.program.address, upstream)

    def at_once(self, request: Request) -> Passing | None:
        address = self.program.address
        upstream = None if request.length > 1_000_000 else self.relay.connections.at_hand(address)
        if upstream is None:
            return None
        self.passages += 1
        passing = Passing(self.relay, address, upstream, request)
        passing.front = self
        told = lines([*introduction(VISITOR), (b"x-request-id", b"id-1")])
        passing.begin(request.shape[to_instances].lines(request.values) + told)
        return passing


class Passing(Passage):
    """One of the front's passages."""

    front: Front

    def added(self, answer: Answer) -> bytes:
        return b""

    def refusal(self, error: KedgeError) -> Reply:
        return self.front.refuse(error)

    def over(self) -> None:
        self.front.left += 1


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    made = Program()
    await made.listen()
    yield made
    await made.close()


@pytest.fixture(params=["the long way", "at once"])
async def front(
    program: Program, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Front]:
    """A relay that goes the way of every request, or the way of those for which a connection is at hand."""
    made = Front(program)
    if request.param == "at once":
        made.short = True
        monkeypatch.setattr("kedge.workers.relay.pool.IDLE_SECONDS", 60.0)
        await made.warm()
    yield made
    made.relay.close()


@pytest.fixture
async def site(front: Front) -> AsyncIterator[Site]:
    shortcut = front.at_once if front.short else None
    async with serve(front, shortcut=shortcut) as made:
        yield made
