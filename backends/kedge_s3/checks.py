"""Checksums that every S3 store knows: the MD5 of what is sent, and ETags made of MD5s."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import md5 as _md5
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

HASH_BYTES = 1024 * 1024
SINGLE = re.compile(r"[0-9a-f]{32}")


def md5(data: ReadableBuffer) -> bytes:
    """The MD5, which here guards against accidents only."""
    return _md5(data, usedforsecurity=False).digest()


def md5_of(body: bytes | IO[bytes]) -> bytes:
    """The MD5 of bytes, or of a whole file, which is at its start again then."""
    if isinstance(body, bytes):
        return md5(body)
    digest = _md5(usedforsecurity=False)
    body.seek(0)
    while block := body.read(HASH_BYTES):
        digest.update(block)
    body.seek(0)
    return digest.digest()


def content_md5(digest: bytes) -> str:
    """As the header `Content-MD5` has it."""
    return b64encode(digest).decode()


def etag_of_parts(digests: Sequence[bytes]) -> str:
    """The ETag that a blob of these parts has."""
    return f"{md5(b''.join(digests)).hex()}-{len(digests)}"


class Check:
    """Follows a blob from its first byte to its last and tells whether that is what its ETag says."""

    def __init__(self, expected: str, part_size: int | None) -> None:
        """`part_size` is None for a blob that was sent in one piece."""
        self._expected = expected
        self.part_size = part_size
        self._digests: list[bytes] = []
        self._part = _md5(usedforsecurity=False)
        self._room = part_size or 0

    def update(self, data: bytes) -> None:
        """Take in the bytes that follow."""
        if self.part_size is None:
            self._part.update(data)
            return
        view = memoryview(data)
        while len(view) >= self._room:
            self._part.update(view[: self._room])
            view = view[self._room :]
            self._end_part()
        self._part.update(view)
        self._room -= len(view)

    def add_part(self, digest: bytes) -> None:
        """Take in the MD5 of the next whole part."""
        self._digests.append(digest)

    def is_passed(self) -> bool:
        """Whether all bytes were the right ones."""
        if self.part_size is None:
            return self._part.hexdigest() == self._expected
        if self._room < self.part_size:
            self._end_part()
        return etag_of_parts(self._digests) == self._expected

    def _end_part(self) -> None:
        self._digests.append(self._part.digest())
        self._part = _md5(usedforsecurity=False)
        self._room = self.part_size or 0
