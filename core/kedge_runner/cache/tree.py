"""What lies in the folders that are to be saved."""

from __future__ import annotations

import os
import stat

from kedge_runner.cache.limits import MOST_DEPTH, Budget
from kedge_runner.cache.names import link_stays
from kedge_runner.cache.restored import FolderIdentity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge_runner.cache.unit import Unit

#: so large a tree would fill any store; the archive's own size is checked when it is known
UNKNOWN_SIZE = 1 << 60


class Entry:
    """One member: a folder, a file or a link."""

    __slots__ = ("link", "mode", "mtime", "name", "size")

    def __init__(self, name: bytes, found: os.stat_result, link: bytes = b"") -> None:
        """`name` is relative to the workspace."""
        self.name = name
        self.mode = found.st_mode
        self.mtime = max(int(found.st_mtime), 0)
        self.size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        self.link = link


class Tree:
    """The members of a unit, and what they come to, as far as they were looked at."""

    def __init__(self, workspace: str, unit: Unit) -> None:
        """Look at nothing yet."""
        self.workspace = os.fsencode(workspace)
        #: sockets, devices and links that lead out
        self.left_out = 0
        #: how many files and links there are, and when the last of them was changed: ns, by the file system
        self.files = 0
        self.newest = 0
        self._identity = FolderIdentity()
        self._paths = [os.fsencode(path) for path in unit.paths]
        self._excludes = {os.fsencode(path) for path in unit.excludes}
        self._budget = Budget(UNKNOWN_SIZE)

    def walk(self) -> Iterator[Entry]:
        """Look at every member, folders before what is in them; no link is followed. Do it once.

        Raises `OSError`, or `CacheFailed` for too much.
        """
        for path in self._paths:
            yield from self._start(path)

    @property
    def size(self) -> int:
        """How many bytes the files hold."""
        return self._budget.bytes

    @property
    def folders(self) -> str:
        """Which folders these are, as `FolderIdentity` tells."""
        return self._identity.value()

    def _start(self, name: bytes) -> Iterator[Entry]:
        """A declared path, with the folders above it, none of which may be a link."""
        parts = name.split(b"/")
        for end in range(1, len(parts)):
            try:
                above = os.lstat(os.path.join(self.workspace, *parts[:end]))
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(above.st_mode):
                self.left_out += 1
                return
        try:
            found = os.lstat(os.path.join(self.workspace, name))
        except FileNotFoundError:
            return
        yield from self._walk(name, found)

    def _walk(self, name: bytes, found: os.stat_result) -> Iterator[Entry]:
        """A member and all below it. One loop: each level of generators would cost every member a step."""
        entry = self._entry(name, found)
        if entry is None:
            return
        yield entry
        above = len(os.path.join(self.workspace, b""))
        waiting = self._children(name, found)
        while waiting:
            child = waiting.pop()
            try:
                found = child.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if (entry := self._entry(child.path[above:], found)) is not None:
                yield entry
                if stat.S_ISDIR(found.st_mode):
                    waiting += self._children(entry.name, found)

    def _children(self, name: bytes, found: os.stat_result) -> list[os.DirEntry[bytes]]:
        """What is in a folder, the first by name at the end."""
        if not stat.S_ISDIR(found.st_mode):
            return []
        if name.count(b"/") >= MOST_DEPTH - 1:
            self.left_out += 1
            return []
        with os.scandir(os.path.join(self.workspace, name)) as scanned:
            return sorted(scanned, key=_name, reverse=True)

    def _entry(self, name: bytes, found: os.stat_result) -> Entry | None:
        if name in self._excludes:
            return None
        if stat.S_ISLNK(found.st_mode):
            link = os.readlink(os.path.join(self.workspace, name))
            entry = Entry(name, found, link) if link_stays(name, link) else None
        elif stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            entry = Entry(name, found)
        else:
            entry = None
        if entry is None:
            self.left_out += 1
        else:
            self._count(entry, found)
        return entry

    def _count(self, entry: Entry, found: os.stat_result) -> None:
        self._budget.take(entry.size)
        if stat.S_ISDIR(found.st_mode):
            self._identity.add(entry.name, found)
        else:
            self.files += 1
            self.newest = max(self.newest, found.st_ctime_ns)


def _name(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name
