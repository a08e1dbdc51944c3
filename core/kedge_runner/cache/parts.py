"""Sends an archive part by part, straight to the store, while it is made."""

from __future__ import annotations

import hashlib
import queue
import threading
from functools import partial

from kedge_runner.cache.carrier import Carrier
from kedge_runner.cache.transfer import Again, Request, Unreachable, persist
from kedge_runner.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kedge_runner.cache.kedge import Kedge

#: so many parts travel at once
SENDERS = 2


class Parts:
    """Holds the parts that travel and one that fills up, and no more; whoever writes waits for room.

    No other part goes before the first has arrived: only then it is known that the store is in reach.
    """

    def __init__(self, kedge: Kedge, archive_id: str, part_size: int) -> None:
        """Nothing is sent yet."""
        self._kedge = kedge
        self._path = f"/caches/{archive_id}"
        self._buffer = memoryview(bytearray(part_size))
        self._filled = 0
        self._number = 1
        #: until it has arrived
        self._first: memoryview | None = None
        self._first_ended = threading.Event()
        self._etags: dict[int, str] = {}
        self._threads: list[threading.Thread] = []
        self._waiting: queue.SimpleQueue[tuple[int, memoryview] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._is_stored = False

    @classmethod
    def begin(cls, kedge: Kedge, wanted: dict[str, Any]) -> Parts | None:
        """Begin an upload, if the store signs parts and is in reach. Raises `Refused`."""
        if not kedge.store_in_reach:
            return None
        upload = kedge.call("POST", "/caches/parts", wanted)["upload"]
        return None if upload is None else cls(kedge, upload["id"], upload["part_size"])

    @property
    def held(self) -> list[memoryview]:
        """All that was taken, as long as nothing has arrived."""
        first = [] if self._first is None else [self._first]
        return [*first, self._buffer[: self._filled]]

    @property
    def out_of_reach(self) -> Unreachable | None:
        """Why the store cannot be reached, if that is what ended this."""
        return self._error if isinstance(self._error, Unreachable) else None

    def write(self, data: memoryview) -> int:
        """Take as much as there is room for; return how much.

        Raises `Unreachable` with all of it still held and nothing taken, else `CacheFailed`, `Refused`.
        """
        if self._filled == len(self._buffer):
            self._send()
        count = min(len(data), len(self._buffer) - self._filled)
        self._buffer[self._filled : self._filled + count] = data[:count]
        self._filled += count
        return count

    def store(self, fact: dict[str, Any]) -> None:
        """Send the rest and have the parts joined. Raises as `write` does."""
        self._send()
        self._wait_for_first()
        self._end()
        self._check()
        etags = [self._etags[number] for number in sorted(self._etags)]
        self._kedge.call("POST", f"{self._path}/join", fact | {"etags": etags})
        self._is_stored = True

    def close(self) -> None:
        """Have what was not stored forgotten; if that cannot be said now, Kedge forgets it in time."""
        if self._is_stored:
            return
        self._error = self._error or Again("it is not wanted any more")
        self._end()
        try:
            self._kedge.call("DELETE", self._path)
        except Refused:
            pass

    def _send(self) -> None:
        """Hand over what is held, to be sent beside this thread."""
        self._wait_for_first()
        self._check()
        part = self._buffer[: self._filled]
        if self._number == 1:
            self._first = part
        if len(self._threads) < SENDERS:
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
            self._free.put(memoryview(bytearray(len(self._buffer))))
        self._waiting.put((self._number, part))
        self._buffer = self._free.get()
        self._number += 1
        self._filled = 0

    def _wait_for_first(self) -> None:
        if self._first is not None:
            self._first_ended.wait()
            self._check()
            self._first = None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        carrier = Carrier()
        while (waiting := self._waiting.get()) is not None:
            number, part = waiting
            try:
                if self._error is None:
                    self._carry(carrier, number, part)
            except Exception as error:  # noqa: BLE001  (raised where parts are handed over)
                self._error = error
            if number == 1:
                self._first_ended.set()
            self._free.put(memoryview(part.obj))
        carrier.close()

    def _carry(self, carrier: Carrier, number: int, data: memoryview) -> None:
        part = {
            "number": number,
            "size": len(data),
            "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        }
        put = Request.presigned(self._kedge.call("POST", f"{self._path}/parts", part)["put"])
        self._etags[number] = persist(partial(_put, carrier, put, data, first=number == 1))

    def _end(self) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()


def _put(carrier: Carrier, request: Request, data: memoryview, *, first: bool) -> str:
    try:
        return carrier.put(request, data)
    except Unreachable as error:
        if first:
            raise
        raise Again(str(error)) from error
