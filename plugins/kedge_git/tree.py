"""Files of a commit, read without a working tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge import NotFound, TooLarge

if TYPE_CHECKING:
    from pathlib import Path

    from kedge_git.git import Git

_REGULAR = frozenset({b"100644", b"100755"})
#: bytes of a folder's list that are looked at
_LIST_LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A regular file."""

    path: bytes
    blob: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What one commit of a repository holds. Any text may come as a path: git takes it as it is."""

    git: Git
    #: where the repository lies
    path: Path
    commit: str

    async def names(self, folder: str) -> tuple[str, ...]:
        """The names of the regular files directly in a folder. Raises `NotFound` for an unknown commit."""
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        begin = len(prefix.encode(errors="replace"))
        return tuple(entry.path[begin:].decode(errors="replace") for entry in await self._list(prefix))

    async def read(self, path: str, *, limit: int) -> bytes:
        """One regular file. Raises `NotFound`, or `TooLarge`."""
        wanted = path.encode(errors="replace")
        entry = next((entry for entry in await self._list(path) if entry.path == wanted), None)
        if entry is None or not path or path.endswith("/"):
            raise NotFound(f"the commit has no file {path[:200]!r}")
        if entry.size > limit:
            raise TooLarge(f"{path[:200]!r} has more than {limit} bytes")
        answer = await self.git.ask(self.path, "cat-file", "blob", entry.blob, limit=limit + 1)
        return answer.output

    async def _list(self, pathspec: str) -> list[Entry]:
        if not _may_be_a_path(pathspec):
            return []
        argv = ("--literal-pathspecs", "ls-tree", "-z", "-l", "--full-tree", "--end-of-options", self.commit)
        paths = ("--", pathspec) if pathspec else ()
        answer = await self.git.ask(self.path, *argv, *paths, limit=_LIST_LIMIT)
        if answer.code not in {0, None}:
            raise NotFound(f"there is no commit {self.commit}")
        # the last one has not come whole if there were too many
        return [entry for record in answer.output.split(b"\0")[:-1] if (entry := _parse(record)) is not None]


def _may_be_a_path(text: str) -> bool:
    """Git refuses the rest: what no program can be given, and what would lead out of the repository."""
    outside = text.startswith("/") or not {".", ".."}.isdisjoint(text.split("/"))
    halves = any("\ud800" <= letter <= "\udfff" for letter in text)
    return not outside and "\0" not in text and len(text) <= 4096 and not halves


def _parse(record: bytes) -> Entry | None:
    known, _, path = record.partition(b"\t")
    mode, _, blob, size = known.split()
    return Entry(path=path, blob=blob.decode(), size=int(size)) if mode in _REGULAR else None
