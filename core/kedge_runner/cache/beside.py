"""Work on a stream of bytes in a thread of its own: hashing and writing let other threads run meanwhile."""

from __future__ import annotations

import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: so much is worth a change of threads
BATCH_BYTES = 1024 * 1024
#: one fills up, one is worked on, and the others keep both from waiting for each other
BATCHES = 4


class Batch:
    """Some bytes of the stream, and what is to be written over some of them once they are hashed."""

    __slots__ = ("data", "filled", "patches")

    def __init__(self) -> None:
        """There is nothing in it."""
        self.data = memoryview(bytearray(BATCH_BYTES))
        self.filled = 0
        self.patches: list[tuple[int, bytes]] = []


class Beside:
    """Hands batches over in order and gives them back empty; who is faster than the work waits for it."""

    def __init__(self, work: Callable[[Batch], None]) -> None:
        """`work` is called with one batch after the other."""
        self._work = work
        self._full: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._empty: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        for _ in range(BATCHES):
            self._empty.put(Batch())
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take_empty(self) -> Batch:
        """One to fill."""
        return self._empty.get()

    def hand_over(self, batch: Batch) -> None:
        """Have it worked on. Raises what the work has raised."""
        if self._error is not None:
            raise self._error
        self._full.put(batch)

    def finish(self) -> None:
        """Return when all is done. Raises what the work has raised."""
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread once it has done what was handed over."""
        if self._thread.is_alive():
            self._full.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (batch := self._full.get()) is not None:
            try:
                if self._error is None:
                    self._work(batch)
            except Exception as error:  # noqa: BLE001  (raised in the thread that hands over)
                self._error = error
            batch.filled = 0
            batch.patches.clear()
            self._empty.put(batch)
