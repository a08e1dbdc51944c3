"""A cluster of three locations on this machine, with links that take as long as those between continents.

`configs/cluster.sh` runs it: `--database` is a PostgreSQL to use, otherwise it starts one.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet

from kedge.cli.placement_demo.world import LOCATIONS, free_port, way
from kedge.testing.delay_proxy import DelayProxy
from kedge.testing.node import RunningNode
from kedge.testing.postgresql import server

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = Path("configs/cluster.toml")
FIRST_PORT = 8787


async def run(folder: Path, database: str, config: str, ports: Mapping[str, int]) -> None:
    """Start a node at each port, say where they are, and end them when this process is told to end."""
    (folder / "secret.key").write_bytes(Fernet.generate_key())
    async with AsyncExitStack() as stack:
        nodes = {}
        for location in ports:
            node = nodes[location] = RunningNode(_made(folder / location), config)
            node.environment = _own(folder, database, location, ports[location])
            node.environment |= await _peers(stack, location, ports)
        stack.push_async_callback(_stop, nodes)
        starts = [asyncio.to_thread(node.start, f"127.0.0.1:{ports[name]}") for name, node in nodes.items()]
        await asyncio.gather(*starts)
        for name, node in nodes.items():
            sys.stdout.write(f"{name:10} {node.server.url}  (data in {node.data_dir})\n")
        sys.stdout.flush()
        await _told_to_end()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _own(folder: Path, database: str, location: str, port: int) -> dict[str, str]:
    return {
        "KEDGE_DATABASE": database,
        "KEDGE_NODE__NAME": location,
        "KEDGE_NODE__LOCATION": location,
        "KEDGE_NODE__REGION": f"x:{location}",
        "KEDGE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "KEDGE_SERVER__SECRET_KEY": f"file:{folder / 'secret.key'}",
        "KEDGE_BLOBS__DISK__FOLDER": str(folder / "blobs"),
        "KEDGE_FORGES__GIT__FOLDER": str(folder / "repos"),
        "KEDGE_REQUESTS__USE": "smart",
        "KEDGE_COMPUTE__PROCESS__WARM": "0",
    }


async def _peers(stack: AsyncExitStack, location: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Settings by which a node reaches the others over a link of its own to each."""
    settings = {}
    for other, port in ports.items():
        if other != location:
            link = await DelayProxy(f"127.0.0.1:{port}", delay=way(location, other) / 2000).start()
            stack.push_async_callback(link.close)
            prefix = f"KEDGE_PEERS__{other.upper()}__"
            settings[f"{prefix}URL"] = f"http://{link.address}"
            settings[f"{prefix}LOCATION"] = other
            settings[f"{prefix}REGION"] = f"x:{other}"
    return settings


async def _stop(nodes: Mapping[str, RunningNode]) -> None:
    await asyncio.gather(*[asyncio.to_thread(node.stop) for node in nodes.values()])


async def _told_to_end() -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="postgresql://… of an empty database; one is started if not given")
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"{CONFIG} if not given")
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="of the first node; 0 for any three")
    given = parser.parse_args()
    ports = {name: given.port + number for number, name in enumerate(LOCATIONS)}
    if given.port == 0:
        ports = {name: free_port() for name in LOCATIONS}
    with TemporaryDirectory(prefix="kedge-cluster-") as folder, ExitStack() as stack:
        database = given.database
        if database is None:
            database = stack.enter_context(stack.enter_context(server(None)).database())
        asyncio.run(run(Path(folder), database, given.config.read_text(), ports))


if __name__ == "__main__":
    main()
