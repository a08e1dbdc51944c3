"""Three locations on one machine: real nodes, and links that take as long as those between continents."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import socket
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from kedge.cli.failure import CommandFailed
from kedge.cli.placement_demo.certificate import make_certificate
from kedge.client import Server, find_server
from kedge.testing.delay_proxy import DelayProxy

if TYPE_CHECKING:
    from pathlib import Path

VISITOR, DATA = "sydney", "frankfurt"
LOCATIONS = (VISITOR, DATA, "virginia")
#: round-trip times in milliseconds, as they are on the public Internet
WAYS = {
    frozenset({"sydney", "frankfurt"}): 280.0,
    frozenset({"sydney", "virginia"}): 200.0,
    frozenset({"virginia", "frankfurt"}): 90.0,
}
#: between a machine and the data in the same place
NEAR_MS = 1.0
BACK_END = "data.internal:443"

#: answers `GET` over TLS
DATA_SERVER = """
import asyncio, ssl, sys
async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n42")
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""


def way(one: str, other: str) -> float:
    """The round-trip time between two locations, in milliseconds."""
    return NEAR_MS if one == other else WAYS[frozenset({one, other})]


@dataclass
class World:
    """The nodes by location; `async with` starts everything and ends it again."""

    folder: Path
    nodes: dict[str, Server] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        """Start the data, the links and the nodes. Raises `CommandFailed`."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything that was started."""
        await self._stack.aclose()

    async def _start(self) -> None:
        certificate = self.folder / "data.pem"
        certificate.write_bytes(make_certificate(BACK_END.partition(":")[0]))
        server = [sys.executable, "-I", "-c", DATA_SERVER, str(certificate)]
        port = (await self._run(server, "data")).strip()
        key = secrets.token_urlsafe(32)
        ports = {location: free_port() for location in LOCATIONS}
        configs = {}
        for location in LOCATIONS:
            data = await self._link(f"127.0.0.1:{port}", way(location, DATA))
            peers = {
                other: await self._link(f"127.0.0.1:{ports[other]}", way(location, other))
                for other in LOCATIONS
                if other != location
            }
            configs[location] = _config(location, ports[location], data, peers)
        await asyncio.gather(*(self._node(location, configs[location], key) for location in LOCATIONS))

    async def _link(self, address: str, milliseconds: float) -> str:
        proxy = DelayProxy(address, delay=milliseconds / 2000)
        await proxy.start()
        self._stack.push_async_callback(proxy.close)
        return proxy.address

    async def _node(self, location: str, config: str, key: str) -> None:
        folder = self.folder / location
        folder.mkdir(parents=True)
        (folder / "kedge.toml").write_text(config)
        command = [sys.executable, "-m", "kedge", "up", "--json", "--config", str(folder / "kedge.toml")]
        line = await self._run([*command, "--data-dir", str(folder)], location, KEDGE_CLUSTER_KEY=key)
        ready: dict[str, Any] = json.loads(line)
        self.nodes[location] = find_server(ready["url"], None, "default", folder)

    async def _run(self, command: list[str], name: str, **environment: str) -> str:
        """Start a process that ends with the world; its first line."""
        said = (self.folder / f"{name}.log").open("wb")
        self._stack.callback(said.close)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            env={name: value for name, value in os.environ.items() if not name.startswith("KEDGE_")}
            | environment,
        )
        self._stack.push_async_callback(_end, process)
        assert process.stdout is not None  # noqa: S101  (asked for)
        line = await process.stdout.readline()
        if not line:
            raise CommandFailed(f"{name} did not start; {self.folder / name}.log says why")
        return line.decode()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


def free_port() -> int:
    """Below those that the kernel gives out by itself, or a link could take it before the node does."""
    while True:
        port = random.randrange(20000, 30000)  # noqa: S311  (no secret)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _config(location: str, port: int, data: str, peers: dict[str, str]) -> str:
    lines = [
        f'[server]\nlisten = "127.0.0.1:{port}"',
        f'[node]\nname = "{location}"\nlocation = "{location}"\nregion = "x:{location}"',
        'cluster_key = "env:KEDGE_CLUSTER_KEY"',
        '[requests]\nuse = "smart"\nexchange = "500 ms"',
        f'[egress]\nconnect_to = {{ "{BACK_END}" = "{data}" }}',
        "[runtime]\nmax_instances = 64",
        "[builds]\nconcurrency = 1\n[compute.process]\nwarm = 0",
    ]
    lines += [
        f'[peers.{name}]\nurl = "http://{address}"\nlocation = "{name}"\nregion = "x:{name}"'
        for name, address in peers.items()
    ]
    return "\n\n".join(lines) + "\n"
