"""Where an archive goes while it is made: to the store in parts if that can be, else by way of a file."""

from __future__ import annotations

import hashlib
import io
import tempfile
from functools import partial

from kedge_runner.cache.parts import Parts
from kedge_runner.cache.transfer import Unreachable, upload
from kedge_runner.cache.way import Way
from kedge_runner.pipes import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from kedge_runner.cache.kedge import Kedge

    Fact = dict[str, Any]

#: up to so much is held in memory: it is soon sent once it is known to be new
SMALL = 1024 * 1024


class Outlet:
    """Takes an archive piece by piece; then `store` lets it be found, and `close` ends it.

    Belongs to one thread at a time.
    """

    def __init__(self, kedge: Kedge, wanted: Fact, folder: str) -> None:
        """`wanted` says what the archive is; `folder` is where a file may be made."""
        self._kedge = kedge
        self._wanted = wanted
        self._folder = folder
        self._held = bytearray()
        self._is_large = False
        self._parts: Parts | None = None
        self._spool: Spool | None = None

    def write(self, data: memoryview) -> None:
        """Take what follows. Raises `CacheFailed`, `OSError` or `Refused`."""
        if not self._is_large and len(self._held) + len(data) <= SMALL:
            self._held += data
            return
        if not self._is_large:
            self._is_large = True
            self._parts = Parts.begin(self._kedge, self._wanted)
            held, self._held = self._held, bytearray()
            self._pass_on(memoryview(held))
        self._pass_on(data)

    def store(self, fact: Fact) -> None:
        """Let it be found; `fact` says what it came to. Raises as `write` does."""
        if self._parts is not None:
            try:
                self._parts.store(fact)
            except Unreachable as error:
                self._give_up(self._parts, error)
            else:
                return
        file = self._file().file if self._is_large else io.BytesIO(self._held)
        _announce(self._kedge, file, self._wanted | fact)

    def close(self) -> None:
        """Forget what was not stored, however far it got."""
        if self._parts is not None:
            self._parts.close()
            if (error := self._parts.out_of_reach) is not None:
                self._kedge.give_up_store(error)
        if self._spool is not None:
            self._spool.file.close()

    def _pass_on(self, data: memoryview) -> None:
        while data:
            if self._parts is None:
                self._file().write(data)
                return
            try:
                data = data[self._parts.write(data) :]
            except Unreachable as error:
                self._give_up(self._parts, error)

    def _give_up(self, parts: Parts, error: Unreachable) -> None:
        """Only a first part meets a store that is out of reach, so what is held is all that there is."""
        self._kedge.give_up_store(error)
        for data in parts.held:
            self._file().write(data)
        self._parts = None
        parts.close()

    def _file(self) -> Spool:
        if self._spool is None:
            self._spool = Spool(self._folder)
        return self._spool


class Spool:
    """An archive in one file that vanishes when it is closed; the only copy on this disk."""

    def __init__(self, folder: str) -> None:
        """Make the file, empty. Raises `OSError`."""
        # also where the file system knows no nameless files
        self.file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def write(self, data: memoryview) -> None:
        """Take all of it. Raises `OSError`."""
        write_all(self.file.fileno(), data)


def _announce(kedge: Kedge, file: BinaryIO, fact: Fact) -> None:
    """Send what is there already: by one request that is bound to it, or through Kedge."""
    file.seek(0)
    md5 = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()  # type: ignore[arg-type]
    answer = kedge.call("POST", "/caches", fact | {"md5": md5})
    path = f"/caches/{answer['id']}"
    Way(kedge, answer["put"], path).travel(partial(upload, file, fact["size"]))
    kedge.call("POST", f"{path}/complete")
