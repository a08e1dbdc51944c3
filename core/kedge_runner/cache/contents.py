"""What the members of a tree hold, and the digest of it all."""

from __future__ import annotations

import hashlib
import os
import stat

from kedge_runner.cache.beside import Beside
from kedge_runner.cache.errors import CacheFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from kedge_runner.cache.tree import Entry

READ_BYTES = 1024 * 1024
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
RIGHTS = 0o777
#: whoever restores a folder may look into it, whatever it was like
OWNER = 0o700


class Contents:
    """Reads members one by one and keeps the digest of names, rights, links and bytes: not of times.

    What a build makes anew, byte for byte, is the same as before.
    """

    def __init__(self, workspace: bytes) -> None:
        """Nothing is read yet."""
        self._workspace = workspace
        self._digest = hashlib.sha256()
        self._hashing = Beside(self._digest.update)

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hash no more."""
        self._hashing.close()

    def read(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a file; folders and links have none.

        Raises `OSError`, or `CacheFailed` if it changes meanwhile.
        """
        about = (entry.name, _kept(entry.mode), entry.size, entry.link)
        self._hashing.add(b"%s\0%o %d %s\0" % about)
        if not stat.S_ISREG(entry.mode):
            return
        file = os.open(os.path.join(self._workspace, entry.name), OPEN)
        try:
            missing = entry.size
            # one byte more than there should be tells that the file has grown
            while missing > 0 and (data := os.read(file, min(missing, READ_BYTES) + 1)):
                missing -= len(data)
                if missing >= 0:
                    self._hashing.add(data)
                    yield data
        finally:
            os.close(file)
        if missing:
            raise CacheFailed(f"{os.fsdecode(entry.name)} changed while it was saved")

    def fingerprint(self) -> str:
        """Of all that was read. Read no more then."""
        self._hashing.finish()
        return self._digest.hexdigest()


def fingerprint(workspace: bytes, entries: Iterable[Entry]) -> str:
    """Read them all. Raises `OSError` or `CacheFailed`."""
    with Contents(workspace) as contents:
        for entry in entries:
            for _ in contents.read(entry):
                pass
        return contents.fingerprint()


def _kept(mode: int) -> int:
    """Of a mode, what an archive keeps: the kind and plain rights."""
    if stat.S_ISLNK(mode):
        return stat.S_IFMT(mode) | RIGHTS
    return stat.S_IFMT(mode) | mode & RIGHTS | (OWNER if stat.S_ISDIR(mode) else 0)
