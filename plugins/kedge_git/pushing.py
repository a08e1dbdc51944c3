"""What Kedge and the hooks of one push tell each other."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kedge_git import pipes
from kedge_git.journal import new_entry
from kedge_git.updates import parse_updates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge import Repo
    from kedge_git.journal import Entry
    from kedge_git.layout import Layout
    from kedge_git.updates import RefUpdate

_END_OF_LIST = b"\n\n"


class Pushing:
    """A push under way: its entry in the journal, and two pipes that git hands on to its hooks.

    Through one the `post-receive` hook tells which refs have moved, through the other it gets what the
    pusher is to see. Made by `begin_push`.
    """

    def __init__(self, entry: Entry) -> None:
        """Open the pipes."""
        self.entry = entry
        self._ours: list[int] = []
        self._theirs: list[int] = []
        opened: list[int] = []
        try:
            self._accepted, accepted = pipes.open_pipe(opened)
            reply, self._reply = pipes.open_pipe(opened)
        except BaseException:
            pipes.close_all(opened)
            raise
        self._ours = [self._accepted, self._reply]
        self._theirs = [accepted, reply]
        for fd in self._ours:
            os.set_blocking(fd, False)

    @property
    def pass_fds(self) -> list[int]:
        """What git is to inherit: the hooks' ends of the pipes, and the entry's lock."""
        return [*self._theirs, self.entry.fd]

    def variables(self) -> dict[str, str]:
        """What the hooks are told."""
        accepted, reply = self._theirs
        return {
            "KEDGE_JOURNAL": str(self.entry.path),
            "KEDGE_ACCEPTED": str(accepted),
            "KEDGE_REPLY": str(reply),
        }

    def let_go(self) -> None:
        """Git has inherited its ends: keep only ours, so that its end is seen."""
        pipes.close_all(self._theirs)
        self._theirs = []

    async def moved(self) -> list[RefUpdate] | None:
        """Wait for the refs that have moved; None if git ends without having moved any, or was killed."""
        read = bytearray()
        while not read.endswith(_END_OF_LIST):
            data = await pipes.read(self._accepted)
            if not data:
                return None
            read += data
        return parse_updates(bytes(read))

    async def reply(self, data: bytes) -> None:
        """Show it to the pusher. Raises `BrokenPipeError` if nobody looks any more."""
        await pipes.write(self._reply, data)

    def end_reply(self) -> None:
        """Let the hook end, and git with it."""
        if self._reply in self._ours:
            self._ours.remove(self._reply)
            os.close(self._reply)

    def close(self) -> None:
        """Let go of every resource; the entry stays until it is settled."""
        pipes.close_all([*self._ours, *self._theirs])
        self._ours = self._theirs = []
        self.entry.close()


@asynccontextmanager
async def begin_push(layout: Layout, repo: Repo) -> AsyncIterator[Pushing]:
    """A push to `repo` for as long as the block lasts."""
    pushing = await asyncio.to_thread(lambda: Pushing(new_entry(layout, repo)))
    try:
        yield pushing
    finally:
        pushing.close()
