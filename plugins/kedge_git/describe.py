"""Turns refs that have moved into what Kedge builds from."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kedge import Push

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kedge import Repo
    from kedge_git.git import Git
    from kedge_git.updates import RefUpdate

#: of a commit message, in characters
_MESSAGE_LIMIT = 2000
#: of changed paths: from here on path rules no longer count
_PATHS_LIMIT = 3000
#: of commits: counting further would only cost time
_COUNT_LIMIT = 1000
#: branches of one push whose changes are looked at; the others are built whatever has changed
_BRANCH_LIMIT = 32
#: branches that are looked at at a time
_AT_A_TIME = 2
#: bytes read of one answer of git
_OUTPUT_LIMIT = 8 << 20
#: no path in a repository begins with a slash, so that a commit is told from a path
_FORMAT = "--format=/%H%x00%an <%ae>%x00%B"
_RECORD = re.compile(
    rb"/[0-9a-f]{40,64}\0(?P<author>[^\0]*)\0(?P<message>[^\0]*)\0\n?(?P<paths>(?:[^/\0][^\0]*\0)*)"
)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A branch that has moved to the commit `new`; its changes are told against `base`, if anything."""

    branch: str
    new: str
    old: str | None = None
    base: str | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a commit says of itself, and the paths in which it differs from its base."""

    author: str = ""
    message: str = ""
    paths: tuple[str, ...] = ()


class Describer:
    """Describes one repository's branches with few git processes: two for the usual push."""

    def __init__(self, git: Git, repo: Repo, path: Path) -> None:
        """`path` is where the repository lies."""
        self._git = git
        self._repo = repo
        self._path = path
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def pushes(self, updates: Sequence[RefUpdate]) -> tuple[Push, ...]:
        """A push for every branch that now points to a commit: none for tags, notes and deletions."""
        moves = [
            Move(branch=update.branch, new=update.new, old=update.old)
            for update in updates
            if update.new and update.branch
        ]
        moves[:_BRANCH_LIMIT] = await asyncio.gather(*map(self._with_base, moves[:_BRANCH_LIMIT]))
        looks, counts = await asyncio.gather(
            self._look(moves), asyncio.gather(*map(self._count, moves[:_BRANCH_LIMIT]))
        )
        counts += [1] * (len(moves) - len(counts))
        return tuple(map(self._push, moves, looks, counts))

    async def head(self, branch: str, commit_hash: str) -> Push:
        """A branch at one of its commits, as if it had just been pushed."""
        move = Move(branch=branch, new=commit_hash)
        [look] = await self._look([move])
        return self._push(move, look, 1)

    def _push(self, move: Move, look: Look, count: int) -> Push:
        return Push(
            repo=self._repo,
            branch=move.branch,
            commit_hash=move.new,
            # every object of a hosted repository was pushed by somebody with the right to write to it
            trusted=True,
            before=move.old,
            commit_message=look.message,
            author=look.author,
            changed_paths=look.paths if move.base else None,
            commit_count=count,
        )

    async def _with_base(self, move: Move) -> Move:
        """A new branch is told against where it left the default one, if it shares history with it."""
        if move.old:
            return replace(move, base=move.old)
        async with self._slots:
            answer = await self._git.ask(self._path, "merge-base", "HEAD", move.new)
        base = answer.output.decode().strip()
        return replace(move, base=base if base != move.new else None)

    async def _look(self, moves: Sequence[Move]) -> list[Look]:
        """Look at the commits, in order; what git cannot tell is left empty."""
        pairs = "".join(f"{move.new} {move.base or move.new}\n" for move in moves).encode()
        argv = ("diff-tree", "--stdin", "-r", "-z", "--name-only", "--no-renames", "--always", _FORMAT)
        looks: list[Look] = []
        if moves:
            answer = await self._git.ask(self._path, *argv, stdin=pairs, limit=_OUTPUT_LIMIT)
            looks = parse_looks(answer.output)[: len(moves)]
        return looks + [Look()] * (len(moves) - len(looks))

    async def _count(self, move: Move) -> int:
        """How many commits the move brought, as far as it matters."""
        range_ = [move.new, f"^{move.base}"] if move.base else [move.new]
        argv = ("rev-list", "--count", f"--max-count={_COUNT_LIMIT}", *range_)
        async with self._slots:
            answer = await self._git.ask(self._path, *argv)
        return int(answer.output) if answer.code == 0 else 1


def parse_looks(output: bytes) -> list[Look]:
    """Read what `diff-tree` prints: `/hash`, author and message of a commit, then its paths."""
    return [
        Look(
            author=found["author"].decode(errors="replace"),
            message=found["message"].decode(errors="replace").strip()[:_MESSAGE_LIMIT],
            paths=tuple(
                path.decode(errors="replace")
                for path in found["paths"].split(b"\0", _PATHS_LIMIT)[:_PATHS_LIMIT]
                if path
            ),
        )
        for found in _RECORD.finditer(output)
    ]
