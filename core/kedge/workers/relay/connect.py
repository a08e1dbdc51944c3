"""Reaching an address, of any kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_SECONDS = 5.0
#: before an address at which TLS is spoken
TLS = "tls:"


async def connect(make: Callable[[], P], address: str, tls: ssl.SSLContext | None = None) -> P:
    """A connection to `HOST:PORT`, `unix:/path` or, if `tls` tells whom to believe, to `tls:HOST:PORT`.

    Raises `OSError`, of which `TimeoutError` is one.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        if address.startswith("unix:"):
            return (await loop.create_unix_connection(make, address.removeprefix("unix:")))[1]
        bare = address.removeprefix(TLS)
        if bare == address:
            tls = None
        elif tls is None:
            raise ConnectionRefusedError(f"nothing tells whom to believe that he is {bare}")
        host, _, port = bare.rpartition(":")
        return (await loop.create_connection(make, host.strip("[]"), int(port), ssl=tls))[1]
