"""Links with a real round-trip time, on a machine whose kernel cannot delay packets."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

#: bytes on their way in one direction before the sender is made to wait
HIGH_WATER = 1024 * 1024
#: the loop may wake so much too early, within its clock's resolution
EARLY = 1e-4


class DelayProxy:
    """Passes connections on to `HOST:PORT`, everything that is said `delay` seconds later each way.

    The kernel accepts a connection at once. So that the handshake takes its round trip all the same, what is
    said first is held back for it: a bare connect does not show the delay, its first answer does. `cut` ends
    every connection and accepts none until `mend`; `hush` lets nothing arrive, without a sign.
    One event loop.
    """

    def __init__(
        self, target: str, *, delay: float, jitter: float = 0.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """`jitter` is the most that is added to a delay, evenly spread; the order of bytes stays.

        With `tls` it is spoken at `address`, and ends here.
        """
        self._tls = tls
        self.target = target
        self.delay = delay
        self.jitter = jitter
        self.address = ""
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._joining: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self.passes = asyncio.Event()
        self.passes.set()

    async def start(self, port: int = 0) -> DelayProxy:
        """Listen on `address`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", port, ssl=self._tls)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def cut(self) -> None:
        """End every connection; new ones are reset until `mend`."""
        self._is_cut = True
        for end in list(self._ends):
            end.abort()

    def hush(self) -> None:
        """Let nothing arrive until `mend`, as if packets vanished: then it does, late."""
        self.passes.clear()

    def mend(self) -> None:
        """Accept connections and let everything pass again."""
        self._is_cut = False
        self.passes.set()
        for end in list(self._ends):
            end.deliver()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._joining):
            task.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)
        await self.empty()

    async def empty(self) -> None:
        """Wait until no connection is open."""
        while self._ends:
            await asyncio.wait([end.gone for end in self._ends])

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    def _accept(self) -> _End:
        return _End(self, made=self._made)

    def _made(self, near: _End) -> None:
        self._ends.add(near)
        task = asyncio.get_running_loop().create_task(self._join(near))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, near: _End) -> None:
        await self.passes.wait()
        if self._is_cut:
            near.abort()
            return
        host, _, port = self.target.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: _End(self), host, int(port))
        except OSError:
            near.abort()
            return
        self._ends.add(far)
        near.join(far, handshake=2 * self.delay)
        far.join(near, handshake=0.0)

    def forget(self, end: _End) -> None:
        """An end is gone."""
        self._ends.discard(end)

    def due(self) -> float:
        """How long what is said now is on its way."""
        return self.delay + random.random() * self.jitter  # noqa: S311  (no secret)


class _Word(Enum):
    """What an end tells that is no byte."""

    SAID_ALL = auto()
    GONE = auto()


def _size(data: bytes | _Word) -> int:
    return len(data) if isinstance(data, bytes) else 0


class _End(asyncio.Protocol):
    """One end of a connection: what it hears it says at the other end, later."""

    def __init__(self, proxy: DelayProxy, *, made: Callable[[_End], None] = lambda _: None) -> None:
        self._proxy = proxy
        self._made = made
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        #: what is on its way to the other end, and when it is due
        self._way: deque[tuple[float, bytes | _Word]] = deque()
        self._on_its_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._born = self._open_at = self._loop.time()
        self._paused = False
        self._heard_all = self._said_all = False
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._made(self)

    def join(self, other: _End, *, handshake: float) -> None:
        self._other = other
        self._open_at = self._born + handshake
        self._way = deque((max(due, self._open_at + self._proxy.delay), data) for due, data in self._way)
        self.deliver()

    def data_received(self, data: bytes) -> None:
        self._send(data)

    def eof_received(self) -> bool:
        self._heard_all = True
        self._send(_Word.SAID_ALL)
        return not self._said_all

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._proxy.forget(self)
        self.gone.set_result(None)
        self._send(_Word.GONE)

    def say(self, data: bytes | _Word) -> None:
        if self._transport is None:
            return
        if data is _Word.GONE:
            self._transport.close()
        elif isinstance(data, bytes):
            self._transport.write(data)
        else:
            self._say_no_more(self._transport)

    def _say_no_more(self, transport: asyncio.Transport) -> None:
        self._said_all = True
        if self._heard_all:
            transport.close()
        elif transport.can_write_eof():
            with suppress(OSError):
                transport.write_eof()

    def abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._way.clear()
        if self._transport is not None:
            self._transport.abort()

    def _send(self, data: bytes | _Word) -> None:
        due = max(self._loop.time(), self._open_at) + self._proxy.due()
        if self._way:
            due = max(due, self._way[-1][0])
        self._way.append((due, data))
        self._on_its_way += _size(data)
        if self._on_its_way > HIGH_WATER and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if self._timer is None and self._other is not None:
            self._timer = self._loop.call_at(self._way[0][0], self.deliver)

    def deliver(self) -> None:
        """Say at the other end what is due, and be back for what is not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._proxy.passes.is_set():
            return
        now = self._loop.time() + EARLY
        other = self._other
        while self._way and other is not None and self._way[0][0] <= now:
            _, data = self._way.popleft()
            self._on_its_way -= _size(data)
            other.say(data)
        if self._paused and self._on_its_way <= HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        if self._way and other is not None:
            self._timer = self._loop.call_at(self._way[0][0], self.deliver)
