"""Run as a program: `relay.py ADDRESS PORT SOCKET` passes TCP connections on to a Unix socket, both ways."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

PART = 1 << 16


async def main(address: str, port: str, socket: str) -> None:
    """Say `ready` once it listens, and serve until it is killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(_pass_on(reader, back_writer), _pass_on(back_reader, writer))

    server = await asyncio.start_server(serve, address, int(port))
    print("ready", flush=True)  # noqa: T201  (whoever started it waits for this)
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(PART):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
