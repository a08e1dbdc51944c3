"""Pushes under way, each a file, so that none is lost when the node dies.

A file holds the repository's name and, once git has asked the `pre-receive` hook, the refs that the push
wants to move. It is locked by the node and by every git process of the push: a lock that can be had
means that the push is over. What became of it, the reflogs tell.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge import Repo
from kedge_git.layout import FORGE
from kedge_git.updates import parse_updates

if TYPE_CHECKING:
    from pathlib import Path

    from kedge_git.layout import Layout
    from kedge_git.updates import RefUpdate

_DRAFT = "."


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One push in the journal. `fd` holds its lock."""

    path: Path
    repo: Repo
    fd: int

    @property
    def push_id(self) -> str:
        """Names the push for ever."""
        return self.path.name

    def asked(self) -> list[RefUpdate]:
        """The refs that the push wants to move; none if it did not get that far, or is settled."""
        try:
            return parse_updates(self.path.read_bytes().partition(b"\n")[2])
        except FileNotFoundError:
            return []

    def settle(self) -> None:
        """The push has been dealt with: forget it."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.fd)


def new_entry(layout: Layout, repo: Repo) -> Entry:
    """Note that a push to `repo` begins. Nobody sees the entry before it is locked."""
    push_id = uuid4().hex
    draft = layout.pushes / f"{_DRAFT}{push_id}"
    fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, f"{repo.owner}/{repo.name}\n".encode())
        path = draft.rename(layout.pushes / push_id)
    except BaseException:
        os.close(fd)
        raise
    return Entry(path=path, repo=repo, fd=fd)


def left_entries(layout: Layout) -> list[Path]:
    """All pushes that are not settled, those under way included."""
    return [path for path in layout.pushes.iterdir() if path.is_file() and path.name[0] != _DRAFT]


def remove_drafts(layout: Layout) -> None:
    """Remove entries of an earlier node that never became one."""
    for path in layout.pushes.glob(f"{_DRAFT}*"):
        path.unlink(missing_ok=True)


def take_over(path: Path) -> Entry | None:
    """Lock what somebody has left; None if it is under way, here or in a git that outlived its node."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner, _, name = path.read_bytes().partition(b"\n")[0].decode(errors="replace").partition("/")
    except (BlockingIOError, FileNotFoundError):
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return Entry(path=path, repo=Repo(forge=FORGE, owner=owner, name=name), fd=fd)
