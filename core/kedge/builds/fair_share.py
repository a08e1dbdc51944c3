"""Whose turn it is."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kedge.db.queries.queue import Waiting


def in_turn(waiting: Iterable[Waiting], running: Mapping[str, int], *, limit: int) -> Iterator[Waiting]:
    """Yield the builds that may start, in the order they should, assuming each one does.

    The account that runs the fewest comes first, among equals the one whose build waits longest; within
    an account production before previews, then first come first served. No account goes over `limit`.
    """
    queues = _queues(waiting)
    running_now = {account: running.get(account, 0) for account in queues}
    while queues:
        account = min(queues, key=lambda name: (running_now[name], queues[name][0].build_id))
        if running_now[account] >= limit:
            return
        yield queues[account].popleft()
        running_now[account] += 1
        if not queues[account]:
            del queues[account]


def _queues(waiting: Iterable[Waiting]) -> dict[str, deque[Waiting]]:
    queues: dict[str, deque[Waiting]] = {}
    for build in sorted(waiting, key=lambda build: (not build.is_production, build.build_id)):
        queues.setdefault(build.account_id, deque()).append(build)
    return queues
