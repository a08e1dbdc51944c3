"""boto3 waits; it does so here, beside the event loop and within bounds."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads:
    """A bounded number of threads. Calls beyond it wait for their turn."""

    def __init__(self, count: int) -> None:
        """Threads start when there is work."""
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="kedge-s3")

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Call `work`; a caller that is cancelled goes at once, whatever the store is doing."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args))

    async def run_to_end(self, work: Callable[..., T], *args: object) -> T:
        """Call `work`, which changes something; even when cancelled, return only when it has ended."""
        submitted = self._pool.submit(work, *args)
        running = asyncio.wrap_future(submitted)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            submitted.cancel()  # which has an effect only if it has not begun
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            if not running.cancelled():
                running.exception()
            raise

    def close(self) -> None:
        """Take no more; what nobody waits for any longer may still end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
