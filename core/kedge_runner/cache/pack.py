"""Writes a tree as one stream of tar."""

from __future__ import annotations

from kedge_runner.cache.contents import Contents
from kedge_runner.cache.tar import BLOCK, END, header, kind_of
from kedge_runner.pipes import PIPE_BYTES, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedge_runner.cache.tree import Entry


class Packer:
    """Writes to `output`, many small members at once."""

    def __init__(self, output: int) -> None:
        """`output` stays the caller's."""
        self._output = output
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, workspace: bytes, entries: Iterable[Entry]) -> str:
        """Write everything; return its fingerprint.

        Raises `OSError`, or `CacheFailed` if something changes meanwhile.
        """
        contents = Contents(workspace)
        for entry in entries:
            kind, mode = kind_of(entry.mode), entry.mode
            self._add(
                header(kind, entry.name, mode=mode, size=entry.size, mtime=entry.mtime, link=entry.link)
            )
            for data in contents.read(entry):
                self._add(data)
            if padding := -entry.size % BLOCK:
                self._add(bytes(padding))
        self._add(END)
        self._flush()
        return contents.fingerprint()

    def _add(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= PIPE_BYTES:
            self._flush()

    def _flush(self) -> None:
        write_all(self._output, b"".join(self._waiting))
        self._waiting, self._size = [], 0
