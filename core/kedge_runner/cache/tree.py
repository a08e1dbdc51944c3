"""What lies in the folders that are to be saved."""

from __future__ import annotations

import hashlib
import os
import stat

from kedge_runner.cache.limits import MOST_DEPTH, Budget
from kedge_runner.cache.names import link_stays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge_runner.cache.unit import Unit

#: so large a tree would fill any store; the archive's own size is checked when it is known
UNKNOWN_SIZE = 1 << 60
RIGHTS = 0o777
#: whoever restores a folder may look into it, whatever it was like
OWNER = 0o700


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
    """The members of a unit, folders before what is in them, and a cheap fingerprint of them all.

    No link is followed. Left out are sockets, devices and links that lead out; `left_out` counts them.
    """

    def __init__(self, workspace: str, unit: Unit) -> None:
        """Look at everything once. Raises `OSError`, or `CacheFailed` for too much."""
        self.workspace = os.fsencode(workspace)
        self.left_out = 0
        self._excludes = {os.fsencode(path) for path in unit.excludes}
        self._budget = Budget(UNKNOWN_SIZE)
        self.entries = [entry for path in unit.paths for entry in self._start(os.fsencode(path))]

    @property
    def files(self) -> int:
        """How many files and links there are."""
        return sum(not stat.S_ISDIR(entry.mode) for entry in self.entries)

    @property
    def size(self) -> int:
        """How many bytes the files hold."""
        return self._budget.bytes

    def fingerprint(self) -> str:
        """The same for the same names, rights, sizes, times and links; a folder's time does not count.

        Times count in whole seconds, which is what archives keep: a restored tree has the same one.
        """
        digest = hashlib.blake2b(digest_size=32)
        for entry in self.entries:
            time = 0 if stat.S_ISDIR(entry.mode) else entry.mtime
            line = b"%s\0%o %d %d %s\n" % (entry.name, _kept(entry.mode), entry.size, time, entry.link)
            digest.update(line)
        return digest.hexdigest()

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
        entry = None if name in self._excludes else self._entry(name, found)
        if entry is None:
            return
        yield entry
        if not stat.S_ISDIR(found.st_mode):
            return
        if name.count(b"/") >= MOST_DEPTH - 1:
            self.left_out += 1
            return
        with os.scandir(os.path.join(self.workspace, name)) as scanned:
            children = sorted(scanned, key=_name)
        for child in children:
            try:
                below = child.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield from self._walk(name + b"/" + child.name, below)

    def _entry(self, name: bytes, found: os.stat_result) -> Entry | None:
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
            self._budget.take(entry.size)
        return entry


def _name(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name


def _kept(mode: int) -> int:
    """Of a mode, what an archive keeps: the kind and plain rights."""
    if stat.S_ISLNK(mode):
        return stat.S_IFMT(mode) | RIGHTS
    return stat.S_IFMT(mode) | mode & RIGHTS | (OWNER if stat.S_ISDIR(mode) else 0)
