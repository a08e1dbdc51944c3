"""Which files any manifest names, in a memory of fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BITS = 1 << 27
WORDS = 4
WORD = 0xFFFF_FFFF


class NeededFiles:
    """A Bloom filter: it forgets none, and takes one of some thousands for needed that is not.

    Of ten million files that is one in 250, of a million one in a million; another process errs elsewhere,
    for Python salts its hashes, so that what stays by mistake goes another time.
    """

    def __init__(self) -> None:
        """None is needed yet."""
        self._bits = bytearray(BITS // 8)

    def add(self, account_id: str, digests: Iterable[str]) -> None:
        """These files of an account are needed."""
        bits = self._bits
        for digest in digests:
            for place in _places(account_id, digest):
                bits[place >> 3] |= 1 << (place & 7)

    def has(self, account_id: str, digest: str) -> bool:
        """Whether a file is needed."""
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in _places(account_id, digest))


def _places(account_id: str, digest: str) -> list[int]:
    mixed = hash((account_id, digest))
    first, step = mixed & WORD, mixed >> 32 & WORD
    return [(first + number * (step | 1)) % BITS for number in range(WORDS)]
