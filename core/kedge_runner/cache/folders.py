"""The folders that an archive is unpacked into, each opened from the one above it."""

from __future__ import annotations

import os

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.restored import FolderIdentity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: owners may always look into their folders, or they could not be filled or removed
OWNER = 0o700


class Folders:
    """Made and entered below `root` without ever following a link: no path of two parts is opened.

    What is open is the way from the root to where the last member was made; the next one is rarely far.
    """

    def __init__(self, root: str, within: Sequence[bytes]) -> None:
        """`within` are the declared paths. Raises `OSError`."""
        self._within = within
        self._parts: list[bytes] = []
        self._open = [os.open(root, FLAGS)]
        self._made: set[bytes] = set()
        #: of those that the archive holds
        self.identity = FolderIdentity()
        self._name: bytes | None = None

    def make(self, name: bytes, mode: int) -> None:
        """Make a folder that the archive holds. Raises `OSError` if anything is there, or `CacheFailed`."""
        self.identity.add(name, self._make(name, mode | OWNER))

    def enter(self, name: bytes) -> int:
        """A folder that was made before, open until the next call. Raises `OSError` or `CacheFailed`."""
        if name == self._name:
            return self._open[-1]
        parts = name.split(b"/") if name else []
        if name and name not in self._made:
            self._make_above(name)
        self._leave(_shared(parts, self._parts))
        for part in parts[len(self._parts) :]:
            self._open.append(os.open(part, FLAGS, dir_fd=self._open[-1]))
            self._parts.append(part)
        self._name = name
        return self._open[-1]

    def close(self) -> None:
        """Let go of all."""
        while self._open:
            os.close(self._open.pop())

    def _leave(self, depth: int) -> None:
        """Go up until `depth` folders below the root."""
        del self._parts[depth:]
        while len(self._open) > depth + 1:
            os.close(self._open.pop())

    def _make_above(self, name: bytes) -> None:
        """The folders above a declared path are not in the archive; any other must be."""
        if not any(one.startswith(name + b"/") for one in self._within):
            raise CacheFailed(f"a member comes before its folder: {name[:80]!r}")
        self._make(name, OWNER)

    def _make(self, name: bytes, mode: int) -> os.stat_result:
        above, _, last = name.rpartition(b"/")
        folder = self.enter(above)
        os.mkdir(last, mode, dir_fd=folder)
        self._made.add(name)
        return os.stat(last, dir_fd=folder, follow_symlinks=False)


def _shared(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """How many parts two ways have in common."""
    pairs = zip(one, other, strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
