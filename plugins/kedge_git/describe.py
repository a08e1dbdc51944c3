"""Turns refs that have moved into what Kedge builds from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge import Push

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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
_OUTPUT_LIMIT = 4 << 20
_FORMAT = "--format=%H%x00%an <%ae>%x00%B"


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What a commit says of itself."""

    author: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a branch's move brought."""

    paths: tuple[str, ...] | None = None
    count: int = 1


class Describer:
    """Describes the moves of one repository's branches with few git processes."""

    def __init__(self, git: Git, repo: Repo, path: Path) -> None:
        """`path` is where the repository lies."""
        self._git = git
        self._repo = repo
        self._path = path
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def pushes(self, updates: Sequence[RefUpdate]) -> tuple[Push, ...]:
        """A push for every branch that now points to a commit: none for tags, notes and deletions."""
        moved = {update.branch: update for update in updates if update.new and update.branch}
        if not moved:
            return ()
        hashes = [update.new for update in moved.values() if update.new]
        looked_at = list(moved.values())[:_BRANCH_LIMIT]
        commits, changes = await asyncio.gather(
            self.commits(hashes), asyncio.gather(*(self._change(update) for update in looked_at))
        )
        changes += [Change()] * (len(hashes) - len(changes))
        return tuple(
            self.push(branch, commit_hash, commits.get(commit_hash), change, before=update.old)
            for (branch, update), commit_hash, change in zip(moved.items(), hashes, changes, strict=True)
        )

    def push(
        self,
        branch: str,
        commit_hash: str,
        commit: Commit | None,
        change: Change,
        *,
        before: str | None = None,
    ) -> Push:
        """Put together what is known of one branch."""
        return Push(
            repo=self._repo,
            branch=branch,
            commit_hash=commit_hash,
            before=before,
            commit_message=commit.message if commit else "",
            author=commit.author if commit else "",
            changed_paths=change.paths,
            commit_count=change.count,
        )

    async def commits(self, hashes: Iterable[str]) -> dict[str, Commit]:
        """What the commits say of themselves, by hash."""
        wanted = "".join(f"{commit_hash}\n" for commit_hash in hashes).encode()
        argv = ("log", "-z", "--no-walk=unsorted", "--encoding=UTF-8", _FORMAT, "--stdin")
        answer = await self._git.ask(self._path, *argv, stdin=wanted, limit=_OUTPUT_LIMIT)
        fields = [field.decode(errors="replace") for field in answer.output.split(b"\0")]
        return {
            commit_hash: Commit(author=author, message=message.strip()[:_MESSAGE_LIMIT])
            for commit_hash, author, message in zip(fields[::3], fields[1::3], fields[2::3], strict=False)
        }

    async def _change(self, update: RefUpdate) -> Change:
        async with self._slots:
            base = update.old or await self._branched_off(update)
            new = str(update.new)
            if base is None:
                return Change(count=await self._count(new))
            paths, count = await asyncio.gather(self._paths(base, new), self._count(new, f"^{base}"))
            return Change(paths=paths, count=count)

    async def _branched_off(self, update: RefUpdate) -> str | None:
        """Where a new branch left the default branch; None for one that shares no history with it."""
        answer = await self._git.ask(self._path, "merge-base", "HEAD", str(update.new))
        base = answer.output.decode().strip()
        return base if base and base != update.new else None

    async def _paths(self, base: str, new: str) -> tuple[str, ...] | None:
        argv = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, new)
        answer = await self._git.ask(self._path, *argv, limit=_OUTPUT_LIMIT)
        if answer.code:
            return None
        paths = answer.output.split(b"\0")[:-1]
        return tuple(path.decode(errors="replace") for path in paths[:_PATHS_LIMIT])

    async def _count(self, *revisions: str) -> int:
        argv = ("rev-list", "--count", f"--max-count={_COUNT_LIMIT}", *revisions)
        answer = await self._git.ask(self._path, *argv)
        return int(answer.output) if answer.code == 0 else 1
