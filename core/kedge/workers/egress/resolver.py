"""Which addresses a name has."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

THREADS = 16
#: names that are looked up at once for one who asks
AT_ONCE = 4
PATIENCE = 20.0


class Resolver:
    """Looks names up in threads of its own, few for each who asks.

    A name for which nobody answers so holds up neither the node's other work nor the names of others.
    """

    def __init__(self) -> None:
        """No thread runs before the first name."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kedge-names")
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def addresses(self, host: str, port: int, caller: str) -> list[IPv4Address | IPv6Address]:
        """All of them, the best first. Raises `OSError` for a name that nobody knows, or not in time."""
        try:
            return [ipaddress.ip_address(host.partition("%")[0])]
        except ValueError:
            pass
        turns = self._turns.setdefault(caller, asyncio.Semaphore(AT_ONCE))
        async with asyncio.timeout(PATIENCE), turns:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return [ipaddress.ip_address(address.partition("%")[0]) for address in found]

    def close(self) -> None:
        """Look up no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "it is no name of a host") from error
    return [str(place[0]) for *_, place in found]
