"""Writes a tree as one stream of tar."""

from __future__ import annotations

import os
import stat

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.tar import BLOCK, END, header, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge_runner.cache.tree import Entry, Tree

BUFFER_BYTES = 1024 * 1024
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Packer:
    """Writes to `output`, many small members at once."""

    def __init__(self, output: int) -> None:
        """`output` stays the caller's."""
        self._output = output
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, tree: Tree) -> None:
        """Write everything. Raises `OSError`, or `CacheFailed` if the tree changes meanwhile."""
        for entry in tree.entries:
            kind = kind_of(entry.mode)
            self._add(
                header(kind, entry.name, mode=entry.mode, size=entry.size, mtime=entry.mtime, link=entry.link)
            )
            if stat.S_ISREG(entry.mode):
                self._content(os.path.join(tree.workspace, entry.name), entry)
        self._add(END)
        self._flush()

    def _content(self, path: bytes, entry: Entry) -> None:
        file = os.open(path, OPEN)
        try:
            missing = entry.size
            # one byte more than there should be tells that the file has grown
            while data := os.read(file, min(missing, BUFFER_BYTES) + 1):
                missing -= len(data)
                if missing < 0:
                    break
                self._add(data)
        finally:
            os.close(file)
        if missing:
            raise CacheFailed(f"{os.fsdecode(entry.name)} changed while it was saved")
        self._add(bytes(-entry.size % BLOCK))

    def _add(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        view = memoryview(b"".join(self._waiting))
        self._waiting, self._size = [], 0
        while view:
            view = view[os.write(self._output, view) :]
