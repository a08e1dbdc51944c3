"""Reaching an address, of either kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_SECONDS = 5.0


async def connect(make: Callable[[], P], address: str) -> P:
    """A connection to `HOST:PORT` or `unix:/path`. Raises `OSError`, of which `TimeoutError` is one."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        if address.startswith("unix:"):
            return (await loop.create_unix_connection(make, address.removeprefix("unix:")))[1]
        host, _, port = address.rpartition(":")
        return (await loop.create_connection(make, host.strip("[]"), int(port)))[1]
