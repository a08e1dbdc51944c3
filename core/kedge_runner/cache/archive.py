"""A tree, packed and compressed."""

from __future__ import annotations

import hashlib
import os
import threading

from kedge_runner.cache.compression import compress
from kedge_runner.cache.pack import pack_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedge_runner.cache.outlet import Outlet
    from kedge_runner.cache.tree import Entry

READ_BYTES = 1024 * 1024


class Archive:
    """Goes to an outlet as it is made; here it is only counted and hashed."""

    def __init__(self, outlet: Outlet) -> None:
        """Nothing is packed yet."""
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._outlet = outlet
        self._error: Exception | None = None

    def fill(self, workspace: bytes, entries: Iterable[Entry]) -> str:
        """Pack and compress; return the fingerprint of what was packed.

        Raises `OSError`, `CacheFailed`, or what the outlet raises.
        """
        found = ""
        with compress() as process:
            reader = threading.Thread(target=self._take, args=(process.output,), daemon=True)
            reader.start()
            try:
                found = pack_tree(workspace, entries, process.input)
                process.end_input()
            except BrokenPipeError:
                process.end_input()  # why it broke is told by what the other side found
            except BaseException:
                process.kill()
                raise
            finally:
                reader.join()
            if self._error is not None:
                raise self._error
            process.finish()
        return found

    def _take(self, source: int) -> None:
        buffer = memoryview(bytearray(READ_BYTES))
        try:
            while count := os.readv(source, [buffer]):
                self.sha256.update(buffer[:count])
                self.size += count
                self._outlet.write(buffer[:count])
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits for this one)
            self._error = error
            while os.readv(source, [buffer]):
                pass
