"""Files that end with their length and a checksum.

What stands behind the content is a skippable frame of zstd: of a compressed blob `zstd -d` makes the same
with it and without it.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kedge import BlobDamaged, BlobNotFound, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAILER = struct.Struct("<IIQI")
SKIPPABLE = 0x184D2A5E
READ_BYTES = 1024 * 1024
FOR_NOW = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM}
FOR_GOOD = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def translated() -> Iterator[None]:
    """Raise Kedge's errors for those of a disk."""
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreUnavailable(f"{place}the disk is full: free some space") from error
        if error.errno in FOR_NOW:
            raise StoreUnavailable(f"{place}{error.strerror}: the disk cannot serve just now") from error
        if error.errno in FOR_GOOD:
            raise StoreRefused(f"{place}{error.strerror}: let Kedge read and write there") from error
        raise


class Writer:
    """A new file. It has its trailer, and with it counts, once `finish` has returned."""

    def __init__(self, path: Path) -> None:
        """Make the file."""
        with translated():
            self._file: BinaryIO = path.open("xb")
        self._size = self._sum = 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with translated():
            self._file.write(data)
        self._size += len(data)
        self._sum = zlib.crc32(data, self._sum)

    def copy(self, source: Path) -> None:
        """Add what is in another file."""
        with source.open("rb") as file:
            while data := file.read(READ_BYTES):
                self.write(data)

    def finish(self, *, fsync: bool) -> int:
        """Add the trailer; return the size of the content."""
        with translated():
            self._file.write(TRAILER.pack(SKIPPABLE, TRAILER.size - 8, self._size, self._sum))
            self._file.flush()
            if fsync:
                os.fsync(self._file.fileno())
        return self._size

    def close(self) -> None:
        """Let go of the file."""
        with translated():
            self._file.close()


class Reader:
    """Reads a range of a file, and checks a file that is read whole."""

    def __init__(self, path: Path, key: str, start: int, end: int | None) -> None:
        """Open it. Raises `BlobNotFound`, and `BlobDamaged` if its end is not the one it was given."""
        self._key = key
        self._path = path
        self._file = _open(path, key)
        try:
            size, self._expected = self._read_trailer()
            self._end = size if end is None else min(end, size)
            self._position = start
            self._checks = start == 0 and self._end == size
            self._sum = 0
        except BaseException:
            self.close()
            raise

    def _read_trailer(self) -> tuple[int, int]:
        whole = os.fstat(self._file).st_size
        size = whole - TRAILER.size
        trailer = os.pread(self._file, TRAILER.size, size) if size >= 0 else b""
        if len(trailer) == TRAILER.size:
            magic, _, length, expected = TRAILER.unpack(trailer)
            if (magic, length) == (SKIPPABLE, size):
                return size, expected
        raise BlobDamaged(f"{self._key}: the file was cut short or changed")

    @property
    def is_done(self) -> bool:
        """Whether all was read."""
        return self._position >= self._end

    def require_place(self) -> None:
        """Raise `BlobNotFound` if a link of some folder led here."""
        # a file that was replaced or removed since is called that
        place = str(Path(f"/proc/self/fd/{self._file}").readlink()).removesuffix(" (deleted)")
        if place != str(self._path):
            raise BlobNotFound(f"there is no blob {self._key}")

    def read(self) -> bytes:
        """The bytes that follow, at most a mebibyte; the last ones only if all were the right ones."""
        with translated():
            data = os.pread(
                self._file, max(min(READ_BYTES, self._end - self._position), 0), max(self._position, 0)
            )
        if not data and not self.is_done:
            raise BlobDamaged(f"{self._key}: the file was cut short while it was read")
        self._position += len(data)
        if self._checks:
            self._sum = zlib.crc32(data, self._sum)
            if self.is_done and self._sum != self._expected:
                raise BlobDamaged(f"{self._key}: the file holds other bytes than were stored")
        return data

    def close(self) -> None:
        """Let go of the file; any thread may."""
        os.close(self._file)


def content_size(stat: os.stat_result) -> int:
    """The size of the content of a file."""
    return max(stat.st_size - TRAILER.size, 0)


def is_file(stat: os.stat_result) -> bool:
    """Whether it is a file, and not a folder or a link."""
    return (stat.st_mode & 0o170000) == 0o100000


def _open(path: Path, key: str) -> int:
    try:
        with translated():
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            raise
        raise BlobNotFound(f"there is no blob {key}") from None
    if not is_file(os.fstat(file)):
        os.close(file)
        raise BlobNotFound(f"there is no blob {key}")
    return file
