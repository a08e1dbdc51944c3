"""Work on a stream of bytes in a thread of its own: hashing and writing let other threads run meanwhile."""

from __future__ import annotations

import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: so much is worth a change of threads
BATCH_BYTES = 1024 * 1024
#: batches that may wait
MOST_WAITING = 2


class Beside:
    """Hands bytes over in order, many small ones at once; who is faster than the work waits for it."""

    def __init__(self, work: Callable[[bytes], None]) -> None:
        """`work` is called with what follows, some of it each time."""
        self._work = work
        self._batch: list[bytes] = []
        self._size = 0
        self._waiting: queue.Queue[list[bytes] | None] = queue.Queue(MOST_WAITING)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, data: bytes) -> None:
        """Hand over what follows. Raises what the work has raised."""
        self._batch.append(data)
        self._size += len(data)
        if self._size >= BATCH_BYTES:
            self._hand_over()

    def finish(self) -> None:
        """Return when all is done. Raises what the work has raised."""
        self._hand_over()
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread, however far it got."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _hand_over(self) -> None:
        if self._error is not None:
            raise self._error
        batch, self._batch, self._size = self._batch, [], 0
        self._waiting.put(batch)

    def _run(self) -> None:
        while (batch := self._waiting.get()) is not None:
            try:
                if self._error is None:
                    self._work(b"".join(batch))
            except Exception as error:  # noqa: BLE001  (raised in the thread that hands over)
                self._error = error
