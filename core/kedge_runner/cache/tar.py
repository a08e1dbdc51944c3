"""The part of the tar format that is needed: files, folders and links, with names of any length.

`tarfile` does much more, takes several times as long for many small files, and trusts more than it should.
"""

from __future__ import annotations

import stat
from zlib import adler32

from kedge_runner.cache.errors import CacheFailed

BLOCK = 512
FILE, LINK, FOLDER = b"0", b"2", b"5"
LONG_NAME, LONG_LINK = b"L", b"K"
END = bytes(2 * BLOCK)
LARGEST_OCTAL = 8**11
LONGEST_FIELD = 100
#: where a header block tells a time and then its checksum
DATE_AT = 136
NO_TIME = b"%011o\0" % 0


def header(kind: bytes, name: bytes, *, mode: int, size: int, link: bytes = b"") -> bytes:
    """The blocks that stand before a member's content. Its time is zero; `date` tells it."""
    before = b""
    if len(name) > LONGEST_FIELD:
        before += _long(LONG_NAME, name)
    if len(link) > LONGEST_FIELD:
        before += _long(LONG_LINK, link)
    return before + _block(kind, name[:LONGEST_FIELD], mode=mode, size=size, link=link[:LONGEST_FIELD])


def date(block: bytes, mtime: int) -> bytes:
    """What to write over a header block at `DATE_AT`, so that it tells this time."""
    time = b"%011o\0" % min(mtime, LARGEST_OCTAL - 1)
    checksum = int(block[148:154], 8) - _sum(NO_TIME) + _sum(time)
    return b"%b%06o" % (time, checksum)


def _block(kind: bytes, name: bytes, *, mode: int, size: int, link: bytes) -> bytes:
    start = b"%b%07o\x000000000\x000000000\0%b%b" % (
        name.ljust(100, b"\0"),
        mode & 0o777,
        _number(size),
        NO_TIME,
    )
    end = b"%b%bustar  \0" % (kind, link.ljust(100, b"\0"))
    # the checksum counts its own eight bytes as blanks
    return (b"%b%06o\0 %b" % (start, _sum(start) + _sum(end) + 256, end)).ljust(BLOCK, b"\0")


def _sum(data: bytes) -> int:
    """The bytes, added up: up to 65,520, which a block of two full names does not reach."""
    return (adler32(data) & 0xFFFF) - 1


def _number(size: int) -> bytes:
    return b"%011o\0" % size if size < LARGEST_OCTAL else b"\x80" + size.to_bytes(11, "big")


def _long(kind: bytes, text: bytes) -> bytes:
    data = text + b"\0"
    return _block(kind, b"././@LongLink", mode=0, size=len(data), link=b"") + data + bytes(-len(data) % BLOCK)


def kind_of(mode: int) -> bytes:
    """The kind of a member by the mode of what it is made of."""
    if stat.S_ISDIR(mode):
        return FOLDER
    return LINK if stat.S_ISLNK(mode) else FILE


class Header:
    """A header block that was read. Raises `CacheFailed` for what is none."""

    __slots__ = ("kind", "link", "mode", "mtime", "name", "size")

    def __init__(self, block: bytes) -> None:
        """Take it apart."""
        if block[257:262] != b"ustar":
            raise CacheFailed("it is no tar archive")
        try:
            self.size = _size(block[124:136])
            self.mode = int(block[100:107], 8) & 0o777
            self.mtime = int(block[136:147], 8)
        except ValueError as error:
            raise CacheFailed("a header of it is damaged") from error
        self.kind = block[156:157]
        self.name = block[:100].partition(b"\0")[0]
        self.link = block[157:257].partition(b"\0")[0]


def _size(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    size = int(field[:11], 8)
    if size < 0:
        raise ValueError("a size below nothing")
    return size
