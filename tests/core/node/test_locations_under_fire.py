"""A location that dies, freezes or is cut off under load loses no request but those in flight just then."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.core.node.test_several_locations import Pair
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from kedge.testing.delay_proxy import DelayProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

VISITORS = 8
#: notes what it did for a POST, and can begin an answer that it does not end
PROGRAM = """
import base64, hashlib, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers["Upgrade"]:
            return self.talk()
        time.sleep(0.01)
        body, begun = os.environ["KEDGE_LOCATION"].encode(), self.path == "/begun"
        self.send_response(200)
        self.send_header("Content-Length", str(1000000 if begun else len(body)))
        self.end_headers()
        self.wfile.write(body)
        if begun:
            threading.Event().wait()
    def talk(self):
        self.close_connection = True
        magic = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        told = os.environ["KEDGE_LOCATION"] + " " + self.headers["X-Forwarded-For"]
        while head := self.rfile.read(6):
            heard = self.rfile.read(head[1] & 127)
            heard = bytes(byte ^ head[2 + place % 4] for place, byte in enumerate(heard))
            said = told.encode() + b" " + heard
            self.wfile.write(bytes((head[0], len(said))) + said)
    def do_POST(self):
        note = self.rfile.read(int(self.headers["Content-Length"]))
        done = os.open({done!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(done, note + b"\\n")
        os.close(done)
        self.do_GET()
    do_PUT = do_POST
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@dataclass
class Load:
    """Visitors of the near node, each of whom asks and then changes something, again and again."""

    url: str
    done: Path
    failed: dict[str, list[str]] = field(default_factory=lambda: {"GET": [], "POST": [], "PUT": []})
    changed: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=lambda: [""] * VISITORS)
    asked: int = 0

    async def visit(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30) as client:
            while True:
                for method in self.failed:
                    note = f"{method}-{number}-{self.asked}"
                    self.asked += 1
                    await self._ask(client, method, note, number)

    async def _ask(self, client: httpx.AsyncClient, method: str, note: str, number: int) -> None:
        headers = {"Host": "where.localhost"}
        content = None if method == "GET" else note
        try:
            answer = await client.request(method, "/x", headers=headers, content=content)
        except httpx.HTTPError as error:
            self.failed[method].append(repr(error))
            return
        if answer.status_code != 200:
            self.failed[method].append(f"{answer.status_code} {answer.text}")
            return
        self.where[number] = answer.headers["cf-placement"]
        if method == "POST":
            self.changed.append(note)

    async def until_all_are(self, placement: str) -> None:
        """Each visitor was answered there last."""
        while set(self.where) != {placement}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def visited(pair: Pair, done: Path) -> AsyncIterator[Load]:
    load = Load(pair.nodes["near"].server.url, done)
    visitors = [asyncio.create_task(load.visit(number)) for number in range(VISITORS)]
    try:
        async with asyncio.timeout(60):
            await load.until_all_are("remote-far")
        yield load
    finally:
        for visitor in visitors:
            visitor.cancel()
        await asyncio.gather(*visitors, return_exceptions=True)


async def strike(
    load: Load, hit: Callable[[], Awaitable[None]], mend: Callable[[], Awaitable[None]]
) -> tuple[int, int, int]:
    """How many requests of each method were lost from a blow to the far location to its return."""
    before = {method: len(problems) for method, problems in load.failed.items()}
    async with asyncio.timeout(60):
        await hit()
        await load.until_all_are("local-near")
        await mend()
        await load.until_all_are("remote-far")
    get, post, put = (len(load.failed[method]) - before[method] for method in load.failed)
    return get, post, put


@asynccontextmanager
async def begun_answer(url: str) -> AsyncIterator[None]:
    """While it goes on, the far location is lost; then it breaks off."""
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
        client.stream("GET", "/begun", headers={"Host": "where.localhost"}) as answer,
    ):
        assert answer.headers["cf-placement"] == "remote-far"
        yield
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()


@asynccontextmanager
async def talking(url: str, where: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket that is answered at a location."""
    port = int(url.rpartition(":")[2])
    async with connect("ws://where.localhost/", host="127.0.0.1", port=port, proxy=None) as socket:
        assert socket.response is not None
        assert socket.response.headers["cf-placement"] == where
        await socket.send("hello")
        assert await socket.recv() == f"{where.partition('-')[2]} 127.0.0.1 hello"
        yield socket


@pytest.mark.timeout(300)
async def test_a_location_that_is_lost_under_load_fails_only_what_it_may_have_done(tmp_path: Path) -> None:
    done = tmp_path / "done"
    key = secrets.token_hex()
    async with DelayProxy("127.0.0.1:1", delay=0.0) as link:
        pair = await asyncio.to_thread(
            Pair, tmp_path, (key, key), program=PROGRAM.replace("{done!r}", repr(str(done))), link=link
        )
        far = pair.nodes["far"]

        async def kill() -> None:
            await asyncio.to_thread(far.kill)

        async def start() -> None:
            await asyncio.to_thread(pair.start, "far")

        async def freeze() -> None:
            os.kill(far.pid, signal.SIGSTOP)

        async def thaw() -> None:
            os.kill(far.pid, signal.SIGCONT)

        async def cut() -> None:
            link.cut()

        async def hush() -> None:
            link.hush()
            # nobody knows it yet: what is asked there has to come back
            async with talking(load.url, "local-near"):
                pass

        async def mend() -> None:
            link.mend()

        try:
            async with visited(pair, done) as load:
                losses = {"killed": await strike(load, kill, start)}
                async with begun_answer(load.url), talking(load.url, "remote-far") as socket:
                    losses["frozen"] = await strike(load, freeze, thaw)
                    with pytest.raises(ConnectionClosed):
                        await socket.recv()
                losses["cut"] = await strike(load, cut, mend)
                losses["hushed"] = await strike(load, hush, mend)
        finally:
            await asyncio.to_thread(pair.stop)

    for blow, (get, post, put) in losses.items():
        assert (get, put) == (0, 0), (blow, load.failed)
        assert post <= VISITORS, (blow, load.failed)
    notes = [note for note in done.read_text().split() if note.startswith("POST")]
    assert len(notes) == len(set(notes))
    assert set(load.changed) <= set(notes)
