"""Carries one call between a client and git's server program, both ways at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from kedge_git.calls import Refused

if TYPE_CHECKING:
    from starlette.types import Receive, Send

    from kedge_git.child import Child

log = structlog.get_logger("git")

_HEAD_LIMIT = 1 << 14
_END_OF_HEAD = b"\r\n\r\n"


class Exchange:
    """One request and its response; a few blocks of each are in memory at a time.

    A client that leaves early ends the child, unless the child has its whole request and `outlives` the
    client: git would otherwise die between moving a branch and saying so.
    """

    def __init__(self, child: Child, receive: Receive, send: Send, *, limit: int, outlives: bool) -> None:
        """`limit` is in bytes of the request's body."""
        self.gone = asyncio.Event()
        self._child = child
        self._receive = receive
        self._send = send
        self._limit = limit
        self._outlives = outlives
        self._complete = False
        self._too_large = False

    async def run(self) -> None:
        """Return when git has nothing more to say. Raises `Refused` if there can be no answer from git."""
        body = asyncio.create_task(self._carry_body())
        try:
            await self._carry_answer()
        finally:
            body.cancel()
            with suppress(asyncio.CancelledError):
                await body

    async def _carry_body(self) -> None:
        try:
            await self._hand_over_body()
            while self._complete and (await self._receive())["type"] != "http.disconnect":
                pass
        finally:
            self.gone.set()
            if not (self._complete and self._outlives):
                self._child.terminate()

    async def _hand_over_body(self) -> None:
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            data = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(data)
            if size > self._limit:
                self._too_large = True
                return
            with suppress(BrokenPipeError):  # git has seen enough; its answer says why
                await self._child.write(data)
        self._complete = True
        self._child.close_stdin()

    async def _carry_answer(self) -> None:
        head, data = await self._read_head()
        status, headers = _parse_head(head)
        await self._tell({"type": "http.response.start", "status": status, "headers": headers})
        while data:
            await self._tell({"type": "http.response.body", "body": data, "more_body": True})
            data = await self._child.read()
        await self._tell({"type": "http.response.body", "body": b"", "more_body": False})
        await self._child.wait()

    async def _read_head(self) -> tuple[bytes, bytes]:
        """The head and the beginning of the body: git sends the first before it knows whether all is well."""
        read = b""
        head = found = rest = b""
        while not (found and rest):
            data = await self._child.read()
            read += data
            head, found, rest = read.partition(_END_OF_HEAD)
            if not data or len(head) > _HEAD_LIMIT:
                break
        if self._too_large or not found:
            raise await self._failure()
        return head, rest

    async def _failure(self) -> Refused:
        code = await self._child.wait()
        if self._too_large:
            return Refused(
                413, f"this is more than the {self._limit} bytes that `forges.git.max_push` allows"
            )
        if not self.gone.is_set():
            log.warning("git_failed", code=code, complaint=self._child.complaint())
        return Refused(500, "git failed; the node's log says why")

    async def _tell(self, message: dict[str, object]) -> None:
        if not self.gone.is_set():
            await self._send(message)


def _parse_head(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """The status and the headers that a CGI program has printed."""
    status = 200
    headers: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"status":
            status = int(value.split()[0])
        else:
            headers.append((name.lower(), value.strip()))
    return status, headers
