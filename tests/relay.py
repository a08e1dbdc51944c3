"""Run as a program: `relay.py LISTEN TARGET` passes connections on, both ways.

Each is `ADDRESS:PORT`, or the path of a Unix socket.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

PART = 1 << 16


async def main(listen: str, target: str) -> None:
    """Say `ready` once it listens, and serve until it is killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await _connect(target)
        await asyncio.gather(_pass_on(reader, back_writer), _pass_on(back_reader, writer))

    if listen.startswith("/"):
        server = await asyncio.start_unix_server(serve, listen)
    else:
        address, _, port = listen.rpartition(":")
        server = await asyncio.start_server(serve, address, int(port))
    print("ready", flush=True)  # noqa: T201  (whoever started it waits for this)
    await server.serve_forever()


async def _connect(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.startswith("/"):
        return await asyncio.open_unix_connection(target)
    address, _, port = target.rpartition(":")
    return await asyncio.open_connection(address, int(port))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(PART):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
