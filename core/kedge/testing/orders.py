"""Runners in the hands of a test: what they are told, what is heard of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from kedge.contracts.compute import Compute, ComputeRequest, ComputeStatus

#: a folder with a package `kedge_runner` that does what a test tells it
STAND_IN = Path(__file__).parent / "stand_in"
#: seconds that a test waits for something before it fails
PATIENCE = 60.0


@dataclass(kw_only=True, eq=False)
class Caller:
    """A process that a backend has started, or a daemon that this one has left behind."""

    hello: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def pid(self) -> int:
        """Its process number, where it runs."""
        return int(self.hello["pid"])

    def order(self, *steps: list[Any]) -> None:
        """Tell a runner what to do."""
        self.writer.write(json.dumps(steps).encode() + b"\n")

    def go_on(self) -> None:
        """Let a runner that waits do its next step."""
        self.writer.write(b"\n")

    async def gone(self) -> None:
        """Return once the process has ended: only then is its connection closed."""
        async with asyncio.timeout(PATIENCE):
            try:
                await self.reader.read()
            except ConnectionError:
                return

    @property
    def is_gone(self) -> bool:
        """Whether its end has been seen."""
        return self.reader.at_eof()


class Orders:
    """Takes the calls of stand-in runners. `async with` opens it; its end ends all that called.

    It listens on `address`: `unix:/path`, or the host of a TCP address with any free port.

    The steps of an order are lists: `["exit", 7]`, `["wait"]` (until `go_on` or a polite signal),
    `["ignore"]` (the same, but deaf to signals), `["daemon"]` (leave one behind),
    `["command", "sleep", "60"]`, `["say", "text", times]` (as error output), `["raise", "text"]`,
    `["kill", 9]`, `["eat", bytes]`, `["write", bytes]`.
    """

    endpoint = ""

    def __init__(self, address: str = "127.0.0.1") -> None:
        """Nothing listens yet."""
        self._address = address

    async def __aenter__(self) -> Self:
        """Listen."""
        self._callers: dict[tuple[str, int, str], asyncio.Future[Caller]] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        if self._address.startswith("unix:"):
            path = Path(self._address.removeprefix("unix:"))
            self._server = await asyncio.start_unix_server(self._answer, path)
            # runners in containers are other users
            path.chmod(0o666)  # noqa: ASYNC240  (one inode)
            self.endpoint = self._address
            return self
        self._server = await asyncio.start_server(self._answer, self._address, 0)
        host, port = self._server.sockets[0].getsockname()
        self.endpoint = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up on everyone, which ends them."""
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def caller(self, request: ComputeRequest, role: str = "runner") -> Caller:
        """The one that called, or will call, for an attempt as `runner` or `daemon`."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self._expected(request.build_uuid, request.attempt, role))

    async def hang_up(self, request: ComputeRequest, role: str = "runner") -> None:
        """End the call of one that has called."""
        caller = await self.caller(request, role)
        self._writers.discard(caller.writer)
        caller.writer.close()

    def has_called(self, request: ComputeRequest, role: str = "runner") -> bool:
        """Whether it has called."""
        return self._expected(request.build_uuid, request.attempt, role).done()

    def _expected(self, build_uuid: str, attempt: int, role: str) -> asyncio.Future[Caller]:
        key = (build_uuid, attempt, role)
        return self._callers.setdefault(key, asyncio.get_running_loop().create_future())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        line = await reader.readline()
        if not line:
            return
        hello = json.loads(line)
        expected = self._expected(hello["build_uuid"], hello["attempt"], hello["role"])
        assert not expected.done(), f"a second {hello['role']} runs for one attempt"
        expected.set_result(Caller(hello=hello, reader=reader, writer=writer))


class Exits:
    """Listens to the exits of a backend."""

    def __init__(self, compute: Compute) -> None:
        """Listen from now on."""
        #: the ids told of so far, in order
        self.told: list[str] = []
        self._awaited: dict[str, asyncio.Future[ComputeStatus]] = {}
        self._task = asyncio.create_task(self._listen(compute))

    async def of(self, compute_id: str) -> ComputeStatus:
        """How an attempt ended, once that is told."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self._expected(compute_id))

    async def over(self) -> None:
        """Return when the backend has nothing more to tell."""
        async with asyncio.timeout(PATIENCE):
            await self._task

    async def close(self) -> None:
        """Listen no longer."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _expected(self, compute_id: str) -> asyncio.Future[ComputeStatus]:
        return self._awaited.setdefault(compute_id, asyncio.get_running_loop().create_future())

    async def _listen(self, compute: Compute) -> None:
        async for status in compute.exits():
            self.told.append(status.compute_id)
            expected = self._expected(status.compute_id)
            if not expected.done():
                expected.set_result(status)
