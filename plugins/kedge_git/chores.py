"""What a hosting forge does by itself now and then."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from kedge_git.git import Git
    from kedge_git.intake import Intake

log = structlog.get_logger("git")

#: seconds between looks for pushes that wait in the journal
_SWEEP_INTERVAL = 5.0
#: seconds between looks for repositories that want packing
_TIDY_INTERVAL = 3600.0
_TIDY_PATIENCE = 3600.0


class Chores:
    """Hands in pushes that are left, and packs repositories: git itself does not while a pusher waits."""

    def __init__(self, intake: Intake, git: Git) -> None:
        """Do nothing yet."""
        self._intake = intake
        self._git = git
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, in the background."""
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._tidy())]

    async def stop(self) -> None:
        """Stop at once; what is not done is done after the next start."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            try:
                await self._intake.sweep()
            except Exception:
                log.exception("journal_not_read")

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_INTERVAL)
            began = time.monotonic()
            try:
                packed = await self.tidy()
            except Exception:
                log.exception("repositories_not_tidied")
                continue
            log.debug("repositories_tidied", count=packed, seconds=round(time.monotonic() - began, 1))

    async def tidy(self) -> int:
        """Let git pack each repository that holds many loose objects; return how many it looked at."""
        paths = await asyncio.to_thread(lambda: list(self._git.layout.repos.glob("*/*.git")))
        for path in paths:
            argv = ("-c", "gc.autoDetach=false", "-c", "pack.threads=1", "gc", "--auto", "--quiet")
            try:
                answer = await self._git.ask(path, *argv, patience=_TIDY_PATIENCE)
            except (OSError, TimeoutError):
                log.exception("repository_not_tidied", path=str(path))
            else:
                if answer.code:
                    log.warning("repository_not_tidied", path=str(path), complaint=answer.complaint)
        return len(paths)
