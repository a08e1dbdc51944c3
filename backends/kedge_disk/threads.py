"""File work beside the event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *args: object, undo: Callable[[T], None] | None = None) -> T:
    """Call `work` in a thread and, even when cancelled, return only when it has ended.

    So a lock around the call covers the work. `undo` gets the result that a cancelled caller never sees.
    """
    running = asyncio.get_running_loop().run_in_executor(None, partial(work, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if running.exception() is None and undo is not None:
            undo(running.result())
        raise
