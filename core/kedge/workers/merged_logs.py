"""What a worker prints on several nodes, read as one log."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

import orjson

from kedge.errors import InvalidInput
from kedge.logs.cursor import Cursor
from kedge.logs.pages import LogPage, read_page
from kedge.logs.topics import Frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.workers.worker_logs import WorkerLogs

#: what one node printed, on its way to a reader; `None` shows that the log is being watched
Piece = tuple[str, Frame] | None
#: pieces that wait for a slow reader
WAITING = 64
#: between two looks for nodes that print for the first time
NODES_SECONDS = 2.0
LONGEST_CURSOR = 8192


class MergedCursor(dict[str, Cursor]):
    """A place in the log of each node."""

    @classmethod
    def parse(cls, text: str) -> MergedCursor:
        """Read `part.offset@node,…`. Raises `InvalidInput`."""
        found = cls()
        for place in text[:LONGEST_CURSOR].split(","):
            cursor, at, node = place.partition("@")
            if not (at and node):
                raise InvalidInput("the cursor is not one that Kedge gave out; leave it away to start anew")
            found[node] = Cursor.parse(cursor)
        return found

    def __str__(self) -> str:
        """As the API shows it."""
        return ",".join(f"{cursor}@{node}" for node, cursor in sorted(self.items()))


class MergedLogs:
    """One worker's logs; live as the lines come, in pages by the second they were printed in."""

    def __init__(self, logs: WorkerLogs, worker_id: str) -> None:
        """Nothing is read yet."""
        self._logs = logs
        self._worker_id = worker_id

    async def start(self, given: str | None, tail: int | None) -> MergedCursor:
        """Where to read from: from a cursor, `tail` lines before each end, or from the beginning."""
        before = MergedCursor.parse(given) if given else MergedCursor()
        found = MergedCursor()
        for node in await self._logs.nodes(self._worker_id):
            log_id = self._log_id(node)
            first = Cursor(part=await self._logs.first_part(log_id), offset=0)
            at = await self._logs.tail(log_id, tail) if tail is not None else before.get(node, first)
            # what was dropped meanwhile is gone: reading goes on with the oldest there is
            found[node] = max(at, first)
        return found

    async def page(self, cursor: MergedCursor, *, most: int | None) -> LogPage:
        """The lines from there on, the last `most` of them."""
        pages = {node: await read_page(self._logs, self._log_id(node), at) for node, at in cursor.items()}
        lines = list(heapq.merge(*(page.lines for page in pages.values()), key=lambda line: line[0]))
        reached = MergedCursor({node: Cursor.parse(page.cursor) for node, page in pages.items()})
        return LogPage(
            lines=lines if most is None else lines[max(len(lines) - most, 0) :],
            cursor=str(reached),
            truncated=any(page.truncated for page in pages.values()),
        )

    async def events(self, cursor: MergedCursor) -> AsyncIterator[bytes]:
        """The logs as they grow, as server-sent events whose ids are cursors. Without end."""
        pieces: asyncio.Queue[Piece] = asyncio.Queue(WAITING)
        watching = asyncio.create_task(self._watch(cursor, pieces))
        getting = asyncio.create_task(pieces.get())
        try:
            while True:
                await asyncio.wait((getting, watching), return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                    return
                piece, getting = getting.result(), asyncio.create_task(pieces.get())
                yield _event(cursor, piece)
        finally:
            for task in (getting, watching):
                task.cancel()
            await asyncio.gather(getting, watching, return_exceptions=True)

    async def _watch(self, cursor: MergedCursor, pieces: asyncio.Queue[Piece]) -> None:
        """Follow every node, those too that print for the first time."""
        watched = dict(cursor)
        async with asyncio.TaskGroup() as group:
            for node, at in watched.items():
                group.create_task(self._follow(node, at, pieces))
            while True:
                await asyncio.sleep(NODES_SECONDS)
                for node in await self._logs.nodes(self._worker_id):
                    if node not in watched:
                        watched[node] = Cursor(part=1, offset=0)
                        group.create_task(self._follow(node, watched[node], pieces))

    async def _follow(self, node: str, at: Cursor, pieces: asyncio.Queue[Piece]) -> None:
        async for item in self._logs.follow(self._log_id(node), at):
            if isinstance(item, Frame):
                await pieces.put((node, item))
            elif item is None and node == self._logs.node:
                await pieces.put(None)

    def _log_id(self, node: str) -> str:
        return self._logs.log_id(self._worker_id, node)


def _event(cursor: MergedCursor, piece: Piece) -> bytes:
    if piece is None:
        return b": still here\n"
    node, frame = piece
    cursor[node] = Cursor(part=frame.part, offset=frame.end)
    body = {"time": frame.time_ms, "node": node, "text": frame.data.decode("utf-8", "replace")}
    return b"event: log\nid: %b\ndata: %b\n\n" % (str(cursor).encode(), orjson.dumps(body))
