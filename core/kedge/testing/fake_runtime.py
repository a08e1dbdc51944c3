"""A runtime without processes: each instance is a server of this event loop, steered by the test."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson
from pydantic import BaseModel, ConfigDict

from kedge.contracts.compute import ExitCause
from kedge.contracts.runtime import InstanceExit, InstanceKind
from kedge.errors import CapacityUnavailable, StartRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kedge.contracts.host import Host
    from kedge.contracts.runtime import InstanceRequest


class FakeRuntimeSettings(BaseModel):
    """`[runtime.fake]`: there is nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FakeRuntime:
    """Instances answer as the stand-in worker does. By its attributes a test makes them fail.

    `mute` instances listen but never answer, those with `status` answer so, those with `exits_with` end at
    once, `refusal` is raised by `start`; `hold` delays the answer of new ones until it is set.
    """

    name: ClassVar[str] = "fake"
    Settings: ClassVar[type[BaseModel]] = FakeRuntimeSettings
    kinds: ClassVar[frozenset[InstanceKind]] = frozenset(InstanceKind) - {InstanceKind.IMAGE}
    #: instances by the host whose they are: a node that starts again ends those of before
    _left: ClassVar[dict[Path, list[FakeInstance]]] = {}

    def __init__(self, settings: FakeRuntimeSettings, host: Host) -> None:
        """Everything works."""
        self._instances = self._left.setdefault(host.data_dir, [])
        self._open = False
        self.started: list[FakeInstance] = []
        self.mute = False
        self.status = 200
        self.exits_with: int | None = None
        self.refusal: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    @property
    def running(self) -> list[FakeInstance]:
        """Instances that have not ended."""
        return [instance for instance in self._instances if not instance.end.done()]

    async def open(self) -> None:
        """End what an earlier node left."""
        await self._end_all()
        self._open = True

    async def start(self, request: InstanceRequest) -> FakeInstance:
        """Start a server, or fail as told."""
        if not self._open:
            raise CapacityUnavailable("the runtime is closed")
        if request.kind not in self.kinds:
            raise StartRefused(f"the fake runtime cannot run kind {request.kind.value}")
        if self.refusal is not None:
            raise self.refusal
        instance = FakeInstance(request, self)
        listening = asyncio.ensure_future(instance.listen())
        try:
            await asyncio.shield(listening)
        except asyncio.CancelledError:
            await listening
            await instance.stop(grace=0)
            raise
        self._instances.append(instance)
        self.started.append(instance)
        if self.exits_with is not None:
            instance.crash(self.exits_with, "as it was told\n")
        elif request.entry and request.entry[0].startswith("no-such-"):
            instance.crash(127, f"there is no program {request.entry[0]!r}\n")
        return instance

    async def close(self) -> None:
        """End everything."""
        self._open = False
        await self._end_all()

    async def _end_all(self) -> None:
        for instance in self.running:
            await instance.stop(grace=0)


class FakeInstance:
    """One server. `crash` ends it as a fault of its own would."""

    def __init__(self, request: InstanceRequest, runtime: FakeRuntime) -> None:
        """It does not listen yet."""
        self.request = request
        self.instance_id = request.instance_id
        self.address = ""
        self.end: asyncio.Future[InstanceExit] = asyncio.get_running_loop().create_future()
        #: requests that wait for this before they are answered, by path
        self.gates: dict[str, asyncio.Event] = {}
        self.requests: list[str] = []
        self._runtime = runtime
        self._deaf = False
        self._printed: asyncio.Queue[bytes] = asyncio.Queue()
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """Answer from now on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        self.say("listening\n")

    def say(self, text: str) -> None:
        """Print something."""
        self._printed.put_nowait(text.encode())

    def crash(self, code: int, words: str = "") -> None:
        """End by itself."""
        self.say(words)
        self._finish(InstanceExit(cause=ExitCause.SELF, exit_code=code))

    async def output(self) -> AsyncIterator[bytes]:
        """What it printed; empty bytes mark the end."""
        while data := await self._printed.get():
            yield data

    async def exited(self) -> InstanceExit:
        """Wait for the end."""
        return await asyncio.shield(self.end)

    async def stop(self, *, grace: float) -> InstanceExit:
        """End it, after `grace` seconds if it is deaf."""
        if self._deaf and grace and not self.end.done():
            await asyncio.wait({self.end}, timeout=grace)
        self._finish(InstanceExit(cause=ExitCause.STOPPED))
        return await self.exited()

    def _finish(self, end: InstanceExit) -> None:
        if self.end.done():
            return
        self.end.set_result(end)
        self._server.close()
        for writer in self._writers:
            writer.close()
        self._printed.put_nowait(b"")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    await self._answer(head.split(b" ", 2)[1].decode(), writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(target)
        self.requests.append(url.path)
        await self._runtime.hold.wait()
        if self._runtime.mute:
            await asyncio.Event().wait()
        if url.path in self.gates:
            await self.gates[url.path].wait()
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = orjson.dumps(self._orders[url.path](self, query))
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (self._runtime.status, len(body)) + body
        )
        await writer.drain()

    def _environment(self, _: dict[str, str]) -> dict[str, str]:
        request = self.request
        port = self.address.rpartition(":")[2]
        return {**request.variables, **request.secrets, **request.egress, "PORT": port}

    def _print(self, query: dict[str, str]) -> bool:
        self.say(query["text"] * int(query.get("times", "1")))
        return True

    def _become_deaf(self, _: dict[str, str]) -> bool:
        self._deaf = True
        return True

    def _read(self, query: dict[str, str]) -> str:
        return ((self.request.files or Path()) / query["path"]).read_text()

    _orders: ClassVar[dict[str, Callable[[FakeInstance, dict[str, str]], Any]]] = {
        "/": lambda _self, _query: "up",
        "/environment": _environment,
        "/arguments": lambda self, _query: list(self.request.entry),
        "/read": _read,
        "/pid": lambda _self, _query: os.getpid(),
        "/exit": lambda self, query: self.crash(int(query["code"])),
        "/print": _print,
        "/deaf": _become_deaf,
    }
