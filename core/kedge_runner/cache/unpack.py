"""Reads an archive that nobody vouches for into an empty folder of its own."""

from __future__ import annotations

import os
from errno import EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.folders import Folders
from kedge_runner.cache.limits import LONGEST_NAME, MOST_PADDING
from kedge_runner.cache.names import check_name, link_stays
from kedge_runner.cache.tar import BLOCK, FILE, FOLDER, LINK, LONG_LINK, LONG_NAME, Header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge_runner.cache.limits import Budget

READ_BYTES = 1024 * 1024
EMPTY = bytes(BLOCK)
#: what only an archive's own members can bring about; anything else, such as a full disk, is this machine's
BLAMED = frozenset({EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR})
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Stream:
    """Bytes of a pipe."""

    def __init__(self, source: int) -> None:
        """`source` stays the caller's."""
        self._source = source
        self._data = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, few of them. Raises `CacheFailed` at the end of the stream."""
        while len(self._data) - self._at < size:
            more = os.read(self._source, READ_BYTES)
            if not more:
                raise CacheFailed("it ends too early")
            self._data, self._at = self._data[self._at :] + more, 0
        self._at += size
        return self._data[self._at - size : self._at]

    def copy(self, target: int, size: int) -> None:
        """Write the next `size` bytes to a file."""
        while size:
            if self._at == len(self._data):
                self._data, self._at = os.read(self._source, READ_BYTES), 0
                if not self._data:
                    raise CacheFailed("it ends too early")
            view = memoryview(self._data)[self._at : self._at + size]
            done = os.write(target, view)
            self._at += done
            size -= done

    def drain(self) -> None:
        """Read to the end, where only empty blocks may stand. Raises `CacheFailed`."""
        rest, padding = self._data[self._at :], 0
        while rest:
            padding += len(rest)
            if rest.count(0) != len(rest) or padding > MOST_PADDING:
                raise CacheFailed("something follows its end")
            rest = os.read(self._source, READ_BYTES)


class Unpacker:
    """Makes what the members say below `root`, an empty folder that nobody else writes to.

    Raises `CacheFailed` for a member that is not a plain file, a folder, or a link that stays within; for
    a name outside of `within`; for one that is there already; for more than the budget allows.
    Raises `OSError` for what is not the archive's fault.
    """

    def __init__(self, root: str, within: Sequence[str], budget: Budget) -> None:
        """`within` are the declared paths."""
        self._within = [os.fsencode(path) for path in within]
        self._budget = budget
        self._folders = Folders(root, self._within)
        self.files = 0

    @property
    def folders(self) -> str:
        """Which folders were made, as `FolderIdentity` tells."""
        return self._folders.identity.value()

    def run(self, source: int) -> None:
        """Read to the end."""
        stream = Stream(source)
        name = link = b""
        try:
            while (block := stream.read(BLOCK)) != EMPTY:
                header = Header(block)
                if header.kind in {LONG_NAME, LONG_LINK}:
                    if name if header.kind == LONG_NAME else link:
                        raise CacheFailed("a member has more than one name")
                    text = self._long(stream, header.size)
                    name, link = (text, link) if header.kind == LONG_NAME else (name, text)
                    continue
                header.name, header.link = name or header.name, link or header.link
                self._member(stream, header)
                name = link = b""
            stream.drain()
        except OSError as error:
            if error.errno not in BLAMED:
                raise
            raise CacheFailed(f"a member cannot be made: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the folders."""
        self._folders.close()

    def _long(self, stream: Stream, size: int) -> bytes:
        if not 1 <= size <= LONGEST_NAME + 1:
            raise CacheFailed("a member's name is too long")
        return stream.read(size + -size % BLOCK)[:size].rstrip(b"\0")

    def _member(self, stream: Stream, header: Header) -> None:
        name = header.name.rstrip(b"/") if header.kind == FOLDER else header.name
        check_name(name, self._within)
        if header.kind != FILE and header.size:
            raise CacheFailed(f"a member that is no file has content: {name[:80]!r}")
        self._budget.take(header.size)
        above, _, last = name.rpartition(b"/")
        if header.kind == FILE:
            self._file(stream, above, last, header)
        elif header.kind == FOLDER:
            self._folders.make(name, header.mode)
        elif header.kind == LINK:
            if not link_stays(name, header.link):
                raise CacheFailed(f"a link leads out: {name[:80]!r}")
            folder = self._folders.enter(above)
            os.symlink(header.link, last, dir_fd=folder)
            os.utime(last, (header.mtime, header.mtime), dir_fd=folder, follow_symlinks=False)
            self.files += 1
        else:
            raise CacheFailed(f"a member is neither file, folder nor link: {name[:80]!r}")

    def _file(self, stream: Stream, above: bytes, last: bytes, header: Header) -> None:
        file = os.open(last, CREATE, header.mode, dir_fd=self._folders.enter(above))
        try:
            stream.copy(file, header.size)
            os.utime(file, (header.mtime, header.mtime))
        finally:
            os.close(file)
        if padding := -header.size % BLOCK:
            stream.read(padding)
        self.files += 1
