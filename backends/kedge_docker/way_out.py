"""How instances reach the node's egress proxy, which listens on this machine alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

log = structlog.get_logger("docker")

#: connections of all instances together, and of one
MOST_CONNECTIONS = 4096
MOST_OF_ONE = 512
CONNECT_SECONDS = 5.0
#: how long an instance may go on after the proxy has said all
LINGER_SECONDS = 5.0
PART = 64 * 1024


class WayOut:
    """Listens where the bridge of a network meets this machine, for containers of that network alone.

    It knows nobody: the proxy asks for credentials.
    """

    def __init__(self, network: Mapping[str, Any], *, port: int = 0) -> None:
        """`network` is what the engine tells of it; 0 is any free port.

        Raises `ValueError` if the network is no bridge.
        """
        told = (network.get("IPAM") or {}).get("Config") or []
        if network.get("Driver") != "bridge" or not told:
            raise ValueError(f"the network {network.get('Name')} is no bridge")
        self._subnet: IPv4Network | IPv6Network = ip_network(told[0]["Subnet"])
        # an engine that was started for the first time does not tell: it takes the first address
        self._gateway = str(told[0].get("Gateway") or self._subnet[1])
        self._port = port
        self._servers: dict[str, asyncio.Server] = {}
        self._opening = asyncio.Lock()
        self._lines: dict[asyncio.Task[None], str] = {}

    async def lead(self, egress: Mapping[str, str]) -> dict[str, str]:
        """The same environment, as it works in a container. Raises `OSError` if nothing can listen there."""
        found = {}
        for name, value in egress.items():
            proxy = urlsplit(value)
            if proxy.hostname is None or proxy.port is None:
                found[name] = value
                continue
            inside = f"{proxy.hostname}:{proxy.port}"
            found[name] = value.replace(f"@{inside}", f"@{await self._listen(inside)}")
        return found

    async def close(self) -> None:
        """End every connection."""
        for server in self._servers.values():
            server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _listen(self, proxy: str) -> str:
        async with self._opening:
            server = self._servers.get(proxy)
            if server is None:

                async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    # Python 3.11 complains of a connection whose task was cancelled
                    with suppress(asyncio.CancelledError):
                        await self._accept(proxy, reader, writer)

                server = self._servers[proxy] = await asyncio.start_server(accept, self._gateway, self._port)
        port: int = server.sockets[0].getsockname()[1]
        return f"[{self._gateway}]:{port}" if ":" in self._gateway else f"{self._gateway}:{port}"

    async def _accept(self, proxy: str, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None  # noqa: S101  (streams run this as a task)
        source: str = back.get_extra_info("peername")[0]
        if ip_address(source) not in self._subnet or self._is_crowded(source):
            log.warning("egress_refused", source=source)
            back.transport.abort()
            return
        self._lines[line] = source
        line.add_done_callback(self._lines.pop)
        try:
            await _join(proxy, near, back)
        except OSError as error:
            log.debug("egress_broke_off", reason=str(error))
        finally:
            back.close()

    def _is_crowded(self, source: str) -> bool:
        sources = [*self._lines.values()]
        return len(sources) >= MOST_CONNECTIONS or sources.count(source) >= MOST_OF_ONE


async def _join(proxy: str, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    """Say at each end what is said at the other, until the proxy has said all, or one is gone."""
    host, _, port = proxy.rpartition(":")
    async with asyncio.timeout(CONNECT_SECONDS):
        far, out = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        async with asyncio.TaskGroup() as both:
            asking = both.create_task(_copy(near, out))
            await _copy(far, back)
            await asyncio.wait([asking], timeout=LINGER_SECONDS)
            asking.cancel()
    except* OSError as errors:
        log.debug("egress_broke_off", reason=str(errors.exceptions[0]))
    finally:
        out.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(PART):
        target.write(data)
        await target.drain()
    with suppress(OSError):
        target.write_eof()
