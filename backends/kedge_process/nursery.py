"""Runners that wait for a job: forked ahead by the fork server, or fresh interpreters."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

import kedge_runner
from kedge import CapacityUnavailable

if TYPE_CHECKING:
    from asyncio.subprocess import Process

log = structlog.get_logger("nursery")

SOURCE = str(Path(kedge_runner.__file__).parent.parent)
PROGRAMS = Path(__file__).parent
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Waiting:
    """A runner that waits; it starts to work when it is sent its assignment."""

    pid: int
    channel: socket.socket

    async def send(self, assignment: dict[str, Any]) -> None:
        """Hand over the assignment. The token goes this way and no other."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self.channel, json.dumps(assignment).encode() + b"\n")
        finally:
            self.channel.close()


class Nursery:
    """Keeps `warm` runners waiting; with 0 each runner is an interpreter of its own."""

    def __init__(self, warm: int) -> None:
        """Nothing runs yet."""
        self._warm = warm
        self._ready: deque[Waiting] = deque()
        self._server: Process | None = None
        self._control: socket.socket | None = None
        self._forking = asyncio.Lock()
        self._filling: asyncio.Task[None] | None = None
        self._reapers: set[asyncio.Task[int]] = set()

    async def open(self) -> None:
        """Start the fork server and the first runners."""
        if self._warm:
            await self._fill()

    async def take(self) -> Waiting:
        """A runner that nobody else has. Raises `CapacityUnavailable` if the machine is full."""
        if not self._warm:
            return await self._start_interpreter()
        while self._ready:
            waiting = self._ready.popleft()
            if _is_alive(waiting.pid):
                self._refill()
                return waiting
            waiting.channel.close()
        waiting = await self._fork()
        self._refill()
        return waiting

    async def close(self) -> None:
        """Let those that wait go; those that work go on."""
        if self._filling is not None:
            self._filling.cancel()
            with suppress(asyncio.CancelledError):
                await self._filling
        while self._ready:
            self._ready.popleft().channel.close()
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            await self._server.wait()

    def _refill(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill_quietly())

    async def _fill_quietly(self) -> None:
        try:
            await self._fill()
        except (CapacityUnavailable, OSError):
            log.warning("no runner could be kept waiting", exc_info=True)

    async def _fill(self) -> None:
        while len(self._ready) < self._warm:
            self._ready.append(await self._fork())

    async def _fork(self) -> Waiting:
        async with self._forking:
            for last in (False, True):
                if self._control is None or (self._server and self._server.returncode is not None):
                    await self._start_server()
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                try:
                    answer = await self._ask(theirs)
                    return Waiting(_pid(answer), ours)
                except (OSError, TimeoutError) as error:
                    ours.close()
                    self._control = None
                    if last:
                        raise CapacityUnavailable(f"the fork server does not answer: {error}") from error
                except CapacityUnavailable:
                    ours.close()
                    raise
                finally:
                    theirs.close()
        raise AssertionError

    async def _ask(self, theirs: socket.socket) -> dict[str, Any]:
        control = self._control
        assert control is not None  # noqa: S101  (narrowed for the type checker)
        socket.send_fds(control, [b"fork"], [theirs.fileno()])
        async with asyncio.timeout(ANSWER_SECONDS):
            data = await asyncio.get_running_loop().sock_recv(control, 4096)
        if not data:
            raise ConnectionResetError("it has ended")
        answer: dict[str, Any] = json.loads(data)
        return answer

    async def _start_server(self) -> None:
        if self._control is not None:
            self._control.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._server = await _start("fork_server.py", theirs)
        self._control = ours

    async def _start_interpreter(self) -> Waiting:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await _start("cold_start.py", theirs)
        except OSError as error:
            ours.close()
            raise CapacityUnavailable(f"no process can be started: {error.strerror}") from error
        reaper = asyncio.create_task(process.wait())
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)
        return Waiting(process.pid, ours)


async def _start(program: str, channel: socket.socket) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(PROGRAMS / program),
            SOURCE,
            stdin=channel.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            start_new_session=program == "cold_start.py",
        )
    finally:
        channel.close()


def _pid(answer: dict[str, Any]) -> int:
    if "pid" not in answer:
        raise CapacityUnavailable(f"no process can be forked: {answer.get('error')}")
    return int(answer["pid"])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
