"""Writes a tree as one stream of tar, and tells by a digest what is in it."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import partial

from kedge_runner.cache.beside import BATCH_BYTES, Beside
from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.tar import BLOCK, DATE_AT, END, date, header, kind_of
from kedge_runner.pipes import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from kedge_runner.cache.beside import Batch
    from kedge_runner.cache.tree import Entry

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
RIGHTS = 0o777
#: whoever restores a folder may look into it, whatever it was like
OWNER = 0o700


def pack_tree(workspace: bytes, entries: Iterable[Entry], output: int) -> str:
    """Write everything to `output`, which stays the caller's; return its fingerprint.

    Raises `OSError`, or `CacheFailed` if something changes meanwhile.
    """
    return _pack(workspace, entries, partial(write_all, output))


def fingerprint(workspace: bytes, entries: Iterable[Entry]) -> str:
    """As `pack_tree`, and write nothing."""
    return _pack(workspace, entries, _drop)


def _pack(workspace: bytes, entries: Iterable[Entry], write: Callable[[memoryview], None]) -> str:
    with Packer(workspace, write) as packer:
        for entry in entries:
            packer.add(entry)
        return packer.finish()


def _drop(data: memoryview) -> None:
    """Nobody wants it."""


class Packer:
    """Takes members one by one and keeps the digest of the stream in which all times are zero.

    What a build makes anew, byte for byte, is the same as before.
    """

    def __init__(self, workspace: bytes, write: Callable[[memoryview], None]) -> None:
        """`write` is called in another thread."""
        self._workspace = workspace
        self._write = write
        self._digest = hashlib.sha256()
        self._beside = Beside(self._hash_and_write)
        self._batch = self._beside.take_empty()
        #: a byte more than there should be tells that a file has grown
        self._surplus = bytearray(1)

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write no more."""
        self._beside.close()

    def add(self, entry: Entry) -> None:
        """Put a member into the stream. Raises `OSError`, or `CacheFailed` if it changes meanwhile."""
        mode = _kept(entry.mode)
        head = header(kind_of(mode), entry.name, mode=mode, size=entry.size, link=entry.link)
        self._put(head)
        # batches are of whole blocks, and the last one of the header is in the present batch
        at = self._batch.filled - BLOCK + DATE_AT
        self._batch.patches.append((at, date(head[-BLOCK:], entry.mtime)))
        if stat.S_ISREG(entry.mode):
            self._put_file(entry)
            self._put(bytes(-entry.size % BLOCK))

    def finish(self) -> str:
        """End the stream; return the digest. Raises `OSError`."""
        self._put(END)
        self._beside.hand_over(self._batch)
        self._beside.finish()
        return self._digest.hexdigest()

    def _put_file(self, entry: Entry) -> None:
        missing = entry.size
        file = os.open(os.path.join(self._workspace, entry.name), OPEN)
        try:
            while True:
                room = self._room()[:missing]
                count = os.readv(file, [room, self._surplus] if len(room) == missing else [room])
                self._batch.filled += min(count, len(room))
                missing -= count
                if missing <= 0 or not count:
                    break
        finally:
            os.close(file)
        if missing:
            raise CacheFailed(f"{os.fsdecode(entry.name)} changed while it was saved")

    def _put(self, data: bytes) -> None:
        while data:
            room = self._room()
            count = min(len(data), len(room))
            room[:count] = data[:count]
            self._batch.filled += count
            data = data[count:]

    def _room(self) -> memoryview:
        """Where what follows belongs: one byte at least."""
        if self._batch.filled == BATCH_BYTES:
            self._beside.hand_over(self._batch)
            self._batch = self._beside.take_empty()
        return self._batch.data[self._batch.filled :]

    def _hash_and_write(self, batch: Batch) -> None:
        data = batch.data[: batch.filled]
        self._digest.update(data)
        for at, patch in batch.patches:
            data[at : at + len(patch)] = patch
        self._write(data)


def _kept(mode: int) -> int:
    """Of a mode, what an archive keeps: the kind and plain rights."""
    if stat.S_ISLNK(mode):
        return stat.S_IFMT(mode) | RIGHTS
    return stat.S_IFMT(mode) | mode & RIGHTS | (OWNER if stat.S_ISDIR(mode) else 0)
