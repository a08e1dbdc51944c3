"""What a pusher is shown: the live log of the builds that the push started."""

from __future__ import annotations

import asyncio
from codecs import getincrementaldecoder
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from kedge import KedgeError, TerminalFilter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from kedge import Host
    from kedge_git.intake import HandedIn
    from kedge_git.pushing import Pushing

log = structlog.get_logger("git")

#: bytes of a log that are made safe before others have their turn
_PIECE = 16 << 10
_NOT_TAKEN_IN = b"Kedge has your push but could not take it in now; it tries again by itself.\n"


class Reporter:
    """Shows logs to pushers, to `followers` of them at a time."""

    def __init__(self, host: Host, followers: int) -> None:
        """With no followers, a pusher is told the builds' ids only."""
        self._host = host
        self._free = followers

    async def report(self, pushing: Pushing, handed_in: HandedIn | None, gone: asyncio.Event) -> None:
        """Tell the pusher what came of the push until all is told or the client is `gone`.

        `handed_in` is None for a push that could not be taken in.
        """
        telling = asyncio.create_task(self._tell(pushing, handed_in))
        leaving = asyncio.create_task(gone.wait())
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            with suppress(BrokenPipeError, asyncio.CancelledError):
                await telling

    async def _tell(self, pushing: Pushing, handed_in: HandedIn | None) -> None:
        if handed_in is None:
            await pushing.reply(_NOT_TAKEN_IN)
        elif handed_in.build_uuids:
            await self._tell_builds(pushing, handed_in)
        elif handed_in.pushes:
            branches = ", ".join(push.branch for push in handed_in.pushes[:10])
            await pushing.reply(_line(f"No trigger matches {branches}: nothing is built."))

    async def _tell_builds(self, pushing: Pushing, handed_in: HandedIn) -> None:
        follows = self._free > 0
        self._free -= follows
        try:
            for build_uuid in handed_in.build_uuids:
                await pushing.reply(_line(f"Build {build_uuid}{_what(handed_in)}"))
                if follows:
                    await self._show_log(pushing, build_uuid)
                else:
                    await pushing.reply(_line(f"To see its log: kedge builds logs -f {build_uuid}"))
        finally:
            self._free += follows

    async def _show_log(self, pushing: Pushing, build_uuid: str) -> None:
        last = b""
        try:
            async with aclosing(self._log(build_uuid)) as chunks:
                async for data in chunks:
                    await pushing.reply(data)
                    last = data[-1:] or last
        except KedgeError as error:
            log.warning("log_not_shown", build_uuid=build_uuid, error=str(error))
            await pushing.reply(_line(f"\nIts log cannot be shown: {error}"))
        else:
            if last not in {b"\n", b""}:
                await pushing.reply(b"\n")

    async def _log(self, build_uuid: str) -> AsyncGenerator[bytes]:
        """The log as it may be shown: git hands what it gets on to the pusher's terminal as it is."""
        decode = getincrementaldecoder("utf-8")("replace").decode
        safe = TerminalFilter(colour=True)
        async for data in self._host.follow(build_uuid):
            for start in range(0, len(data), _PIECE):
                yield safe.feed(decode(data[start : start + _PIECE])).encode()
                await asyncio.sleep(0)
        yield (safe.feed(decode(b"", final=True)) + safe.end()).encode()


def _line(text: str) -> bytes:
    return f"{TerminalFilter(colour=False).feed(text)}\n".encode()


def _what(handed_in: HandedIn) -> str:
    if len(handed_in.pushes) != 1:
        return ""
    push = handed_in.pushes[0]
    return f" of {push.branch} at {push.commit_hash[:7]}"
