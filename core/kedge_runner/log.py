"""The build's log on its way to Kedge: masked, cut into chunks, spooled, sent until acknowledged."""

from __future__ import annotations

import threading
import time
from collections import deque

from kedge_runner.errors import Refused, Stale
from kedge_runner.lines import LineCap
from kedge_runner.masker import Masker
from kedge_runner.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge_runner.client import Client

CHUNK_BYTES = 512 * 1024
SPOOL_BYTES = 64 * 1024 * 1024
#: a line that comes this soon after a chunk waits for others
CLOSE = 0.01
#: no more than `BURST` chunks go out in `BURST` intervals, however steadily lines come
INTERVAL = 0.1
BURST = 8
HEARTBEAT_SECONDS = 10.0
#: bytes printed this far apart do not share a chunk, for a chunk has one time
TIME_GRAIN_MS = 1000

LOG_GAP, STALE_ATTEMPT = 12063, 12062


class Log:
    """Written by the thread that works, sent by a thread of its own."""

    def __init__(self, client: Client, spool_path: str) -> None:
        """`client` belongs to the log from now on."""
        self._client = client
        self._spool = Spool(spool_path, SPOOL_BYTES)
        self._masker = Masker([])
        self._lines = LineCap()
        self._changed = threading.Condition()
        self._marks: deque[tuple[int, int]] = deque()
        self._closing = False
        self._sent_at: deque[float] = deque(maxlen=BURST)
        self.chunks = 0
        self.cancel_requested = False
        #: why there is nobody to send to any more
        self.broken: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def mask(self, secrets: list[str]) -> None:
        """From now on take these out."""
        self._put(self._masker.finish())
        self._masker = Masker(secrets)

    def write(self, data: bytes) -> None:
        """Add what was printed. Waits while the spool is full. Raises `Stale` if nobody wants it any more."""
        self._put(self._lines.feed(self._masker.feed(data)))

    def say(self, text: str) -> None:
        """Add a line of the runner's own."""
        self.write(text.encode() + b"\n")

    def close(self) -> int:
        """Send what is left; return the number of chunks. Raises `Stale`."""
        self._put(self._lines.feed(self._masker.finish()) + self._lines.finish())
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._spool.close()
        if self.broken is not None:
            raise Stale(str(self.broken))
        return self.chunks

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        with self._changed:
            while view:
                while self._spool.room == 0 and self.broken is None:
                    self._changed.wait()
                if self.broken is not None:
                    raise Stale(str(self.broken))
                part = view[: self._spool.room]
                self._mark()
                self._spool.write(part)
                view = view[len(part) :]
                self._changed.notify_all()

    def _mark(self) -> None:
        now = time.time_ns() // 1_000_000
        if not self._marks or now - self._marks[-1][1] >= TIME_GRAIN_MS:
            self._marks.append((self._spool.written, now))

    def _run(self) -> None:
        try:
            while (chunk := self._next_chunk()) is not None:
                if chunk:
                    self._send(*chunk)
                else:
                    self._note_answer(self._client.call("POST", "/heartbeat"))
        except (Refused, OSError) as error:
            with self._changed:
                self.broken = error
                self._changed.notify_all()

    def _next_chunk(self) -> tuple[int, int, int] | tuple[()] | None:
        """Offset, size and time; empty when it is time for a heartbeat, `None` when all is sent."""
        with self._changed:
            while True:
                ready = self._spool.written - self._spool.acknowledged
                pause = self._pause() if 0 < ready < CHUNK_BYTES and not self._closing else 0.0
                if ready and pause <= 0:
                    return self._cut(ready)
                if self._closing and not ready:
                    return None
                if not self._changed.wait(pause if ready else HEARTBEAT_SECONDS) and not ready:
                    return ()

    def _pause(self) -> float:
        if not self._sent_at:
            return 0.0
        earliest = self._sent_at[-1] + CLOSE
        if len(self._sent_at) == BURST:
            earliest = max(earliest, self._sent_at[0] + BURST * INTERVAL)
        return earliest - time.monotonic()

    def _cut(self, ready: int) -> tuple[int, int, int]:
        start = self._spool.acknowledged
        while len(self._marks) > 1 and self._marks[1][0] <= start:
            self._marks.popleft()
        moment = self._marks[0][1]
        limit = min(ready, CHUNK_BYTES)
        if len(self._marks) > 1:
            limit = min(limit, self._marks[1][0] - start)
        if limit == CHUNK_BYTES:
            limit = _whole(self._spool.read(start, limit))
        return start, limit, moment

    def _send(self, start: int, size: int, moment: int) -> None:
        data = self._spool.read(start, size)
        self._sent_at.append(time.monotonic())
        path = f"/logs/{self.chunks}?time_ms={moment}"
        try:
            answer = self._client.send("POST", path, data, "application/octet-stream")
        except Refused as error:
            if error.code != LOG_GAP:
                raise
            raise Refused(error.status, error.code, "Kedge has lost a part of the log") from error
        self._note_answer(answer)
        with self._changed:
            self.chunks += 1
            self._spool.acknowledged = start + size
            self._changed.notify_all()

    def _note_answer(self, answer: object) -> None:
        if isinstance(answer, dict) and answer.get("cancel"):
            self.cancel_requested = True


def _whole(data: bytes) -> int:
    """Where to cut: behind the last line, else not within a character."""
    newline = data.rfind(b"\n")
    if newline >= 0:
        return newline + 1
    for back in range(1, 4):
        byte = data[-back]
        if byte >= 0xC0:
            return len(data) - back
        if byte < 0x80:
            break
    return len(data)
