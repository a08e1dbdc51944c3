"""Hands pushes in to Kedge: those that git has just accepted, and those that a dead node left behind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from kedge import Delivery, InvalidInput, NotFound
from kedge_git.describe import Describer
from kedge_git.git import Git
from kedge_git.journal import left_entries, take_over
from kedge_git.layout import FORGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kedge import Host, Push
    from kedge_git.journal import Entry
    from kedge_git.layout import Layout
    from kedge_git.updates import RefUpdate

log = structlog.get_logger("git")


@dataclass(frozen=True, kw_only=True)
class HandedIn:
    """What came of a push."""

    pushes: tuple[Push, ...] = ()
    build_uuids: Sequence[str] = field(default_factory=tuple)


class Intake:
    """The way from the journal to the host."""

    def __init__(self, host: Host, layout: Layout) -> None:
        """Keep them."""
        self._host = host
        self._layout = layout
        self._git = Git(layout=layout)

    async def hand_in(self, entry: Entry, moved: Sequence[RefUpdate]) -> HandedIn:
        """Give the branches among `moved` to the host and settle the entry; on an error it stays."""
        path = self._layout.repo_path(entry.repo)
        pushes = await Describer(self._git, entry.repo, path).pushes(moved)
        uuids: Sequence[str] = ()
        if pushes:
            delivery = Delivery(forge=FORGE, delivery_id=entry.push_id, pushes=pushes)
            uuids = await self._host.receive(delivery)
        entry.settle()
        return HandedIn(pushes=pushes, build_uuids=uuids)

    async def hand_in_quietly(self, entry: Entry, moved: Sequence[RefUpdate]) -> HandedIn | None:
        """The same, but an error is told to the log: None, and the sweep tries again."""
        try:
            return await self.hand_in(entry, moved)
        except Exception:
            log.exception("push_not_taken_in", push_id=entry.push_id)
            return None

    async def settle(self, entry: Entry, *, after_restart: bool = False) -> None:
        """Hand in what has happened to a push whose hook has not told us; forget one that did nothing.

        What fails is told to the log, and the sweep tries again.
        """
        try:
            path = self._layout.repo_path(entry.repo)
            asked = await asyncio.to_thread(entry.asked)
            if after_restart:
                await asyncio.to_thread(_unlock, path, asked)
            moved = [update for update in asked if await self._has_moved(path, update)]
            if moved:
                log.info(
                    "push_recovered", push_id=entry.push_id, owner=entry.repo.owner, repo=entry.repo.name
                )
            await self.hand_in(entry, moved)
        except (InvalidInput, NotFound) as error:
            log.warning("push_dropped", push_id=entry.push_id, error=str(error))
            entry.settle()
        except Exception:
            log.exception("push_not_taken_in", push_id=entry.push_id)

    async def sweep(self, *, after_restart: bool = False) -> None:
        """Settle every push that is over and has not been: its node was killed, or could not take it in.

        `after_restart` also removes the locks of gits that were killed with their node.
        """
        for path in await asyncio.to_thread(left_entries, self._layout):
            entry = await asyncio.to_thread(take_over, path)
            if entry is not None:
                try:
                    await self.settle(entry, after_restart=after_restart)
                finally:
                    entry.close()

    async def _has_moved(self, path: Path, update: RefUpdate) -> bool:
        """Whether the branch is there and has, at some time, pointed where the push wanted it."""
        if update.branch is None or update.new is None:
            return False
        ref = f"refs/heads/{update.branch}"
        answer = await self._git.ask(path, "reflog", "show", "--format=%H", ref, "--")
        return answer.code != 128 and update.new in answer.output.decode().split()


def _unlock(path: Path, asked: Sequence[RefUpdate]) -> None:
    """Remove the locks of a git that was killed; nobody else would, and the branch could move no more."""
    for update in asked:
        if update.branch:
            (path / "refs" / "heads" / f"{update.branch}.lock").unlink(missing_ok=True)
