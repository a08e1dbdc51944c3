"""Sends the log in numbered chunks, each until it is acknowledged, in a thread of its own."""

from __future__ import annotations

import _thread
import time

from kedge_runner.bell import Bell
from kedge_runner.errors import Refused, Stale
from kedge_runner.lines import whole_characters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge_runner.client import Client
    from kedge_runner.spool import Spool

CHUNK_BYTES = 1024 * 1024
#: a line that comes this soon after a chunk waits for others
CLOSE = 0.01
#: a line's beginning waits so long for its end, for many programs print them one after the other
UNFINISHED = 0.004
#: however steadily lines come, a chunk goes out every `INTERVAL` only, once `BURST` of them went out sooner
INTERVAL = 0.05
BURST = 8
HEARTBEAT_SECONDS = 10.0
#: bytes printed this far apart do not share a chunk, for a chunk has one time
TIME_GRAIN_MS = 1000
#: acknowledged bytes kept for a Kedge that has lost its last moments when its machine died
KEPT_BYTES = 2 * 1024 * 1024
#: how long memory may stay full before the disk is used
PATIENCE = 0.05

LOG_GAP = 12063
NEVER = 1 << 62


class Sender:
    """A bounded queue to Kedge.

    `add` and `finish` are for one thread, which `bell` wakes: on cancel, on the end, when there is room.
    """

    def __init__(self, client: Client, spool: Spool, bell: Bell) -> None:
        """Start the thread. `client` and `spool` belong to it from now on."""
        self._client = client
        self._spool = spool
        self._bell = bell
        self._lock = _thread.allocate_lock()
        self._wake = Bell()
        #: with so many bytes waiting `add` rings
        self._rings_at = NEVER
        self._marks: list[tuple[int, int]] = []
        self._added = self._sent = 0
        self._carry = b""
        self._half_a_character = False
        #: until when more of the last line is waited for
        self._unfinished_until = 0.0
        self._full_since = 0.0
        self._wants_room = False
        self._closing = False
        self._last = self._refilled = time.monotonic()
        self._tokens = float(BURST)
        self._kept: list[tuple[int, int, bytes]] = []
        self._kept_bytes = 0
        self.chunks = 0
        self.cancel_requested = False
        #: why there is nobody to send to any more
        self.broken: Refused | None = None
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        _thread.start_new_thread(self._run, ())

    def add(self, data: bytes) -> None:
        """Have bytes sent. Never waits: ask for room before reading more."""
        if not data:
            return
        now = time.time_ns() // 1_000_000
        with self._lock:
            if not self._marks or now - self._marks[-1][1] >= TIME_GRAIN_MS:
                self._marks.append((self._added, now))
            self._unfinished_until = 0.0 if data.endswith(b"\n") else time.monotonic() + UNFINISHED
            self._spool.write(data)
            self._added += len(data)
            if len(self._spool) >= self._rings_at:
                self._rings_at = NEVER
                self._wake.ring()

    def has_room(self) -> bool:
        """Whether more may be added. If not, the bell rings when it may; ask again after `PATIENCE` too."""
        with self._lock:
            if self._spool.has_room_in_memory:
                self._full_since = 0.0
                return True
            self._full_since = self._full_since or time.monotonic()
            room = self._spool.has_room and time.monotonic() - self._full_since >= PATIENCE
            self._wants_room = not room
            return room

    def finish(self) -> int:
        """Send what is left; return the number of chunks. Raises `Stale`."""
        with self._lock:
            self._closing = True
        self._wake.ring()
        self._ended.acquire()
        self._spool.close()
        if self.broken is not None:
            raise Stale(str(self.broken))
        return self.chunks

    def resend(self, number: int) -> None:
        """Send what Kedge has lost, from chunk `number` on. Raises `Refused` or `Stale`."""
        chunks = [chunk for chunk in self._kept if chunk[0] >= number]
        if not chunks or chunks[0][0] != number:
            raise Stale(f"Kedge has lost the log from chunk {number} on")
        for chunk in chunks:
            self._post(*chunk)

    def _run(self) -> None:
        try:
            while (chunk := self._next()) is not None:
                if chunk[1]:
                    self._send(*chunk)
                else:
                    self._last = time.monotonic()
                    self._note(self._client.call("POST", "/heartbeat"))
        except Refused as error:
            self.broken = error
        except Exception as error:  # noqa: BLE001  (whatever it is, the build must not wait for this thread)
            self.broken = Refused(0, 0, f"the log cannot be sent: {error!r}")
        finally:
            self._ended.release()
            self._bell.ring()

    def _next(self) -> tuple[int, bytes] | None:
        """Time and bytes; no bytes when it is time for a heartbeat, `None` when all is sent."""
        while True:
            with self._lock:
                ready = len(self._spool) + len(self._carry)
                if self._half_a_character and not self._closing:
                    ready -= len(self._carry)
                if self._closing and not ready:
                    return None
                pause = self._pause(ready)
                if pause <= 0:
                    return self._cut() if ready else (0, b"")
                self._rings_at = CHUNK_BYTES if ready else 1
            self._wake.wait(pause)

    def _pause(self, ready: int) -> float:
        now = time.monotonic()
        if not ready:
            return self._last + HEARTBEAT_SECONDS - now
        if self._closing or ready >= CHUNK_BYTES or not self.chunks:
            return 0.0
        self._tokens = min(self._tokens + (now - self._refilled) / INTERVAL, BURST)
        self._refilled = now
        return max(self._last + CLOSE - now, (1 - self._tokens) * INTERVAL, self._unfinished_until - now)

    def _cut(self) -> tuple[int, bytes]:
        data = self._carry + self._spool.take(CHUNK_BYTES - len(self._carry))
        while len(self._marks) > 1 and self._marks[1][0] <= self._sent:
            del self._marks[0]
        moment = self._marks[0][1]
        limit = self._marks[1][0] - self._sent if len(self._marks) > 1 else len(data)
        chunk = data[:limit]
        if limit >= len(data) and not (self._closing and not len(self._spool)):
            chunk = _whole(data) if len(data) >= CHUNK_BYTES else whole_characters(data)
        self._carry = data[len(chunk) :]
        self._half_a_character = 0 < len(self._carry) < 4 and limit >= len(data)
        self._sent += len(chunk)
        return moment, chunk

    def _send(self, moment: int, data: bytes) -> None:
        self._last = time.monotonic()
        # never below nothing: chunks that were full did not wait for a token, and must not make others wait
        self._tokens = max(self._tokens - 1, 0.0)
        chunk = (self.chunks, moment, data)
        try:
            self._post(*chunk)
        except Refused as error:
            expected = error.result.get("expected") if isinstance(error.result, dict) else None
            if error.code != LOG_GAP or not isinstance(expected, int) or expected >= self.chunks:
                raise
            self.resend(expected)
            self._post(*chunk)
        self.chunks += 1
        self._keep(chunk)
        with self._lock:
            if self._wants_room and self._spool.has_room_in_memory:
                self._wants_room = False
                self._bell.ring()

    def _post(self, number: int, moment: int, data: bytes) -> None:
        self._note(self._client.send("POST", f"/logs/{number}?time_ms={moment}", data))

    def _keep(self, chunk: tuple[int, int, bytes]) -> None:
        self._kept.append(chunk)
        self._kept_bytes += len(chunk[2])
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.pop(0)[2])

    def _note(self, answer: object) -> None:
        if isinstance(answer, dict) and answer.get("cancel") and not self.cancel_requested:
            self.cancel_requested = True
            self._bell.ring()


def _whole(data: bytes) -> bytes:
    """Up to the end of the last line, else to that of the last character."""
    newline = data.rfind(b"\n")
    return data[: newline + 1] if newline >= 0 else whole_characters(data)
