"""`kedge up`: run a node."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from kedge.cli.options import ConfigFile, DataDir, Json

if TYPE_CHECKING:
    from kedge.config import Settings


def up(
    config: ConfigFile = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="Where to listen, HOST:PORT; port 0 is any free one.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Run Kedge on this machine until it is told to stop."""
    # nearly all that imports make stays, and to look at it again and again would take a tenth of a start
    gc.disable()
    from kedge.node import Node  # noqa: PLC0415  (only this command needs the server's modules)
    from kedge.placement.strategies import STRATEGIES  # noqa: PLC0415
    from kedge.registry import load_and_register  # noqa: PLC0415

    overrides: dict[str, Any] = {"server": {}}
    if listen is not None:
        overrides["server"]["listen"] = listen
    if data_dir is not None:
        overrides["server"]["data_dir"] = data_dir
    settings, registry = load_and_register(config, os.environ, overrides, placements=STRATEGIES)

    # What a node writes is nobody else's; builds and workers have a usual umask of their own.
    os.umask(0o077)

    def ready(url: str) -> None:
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        sys.stdout.write(_ready_line(settings, url, as_json=json))
        sys.stdout.flush()

    node = Node(settings, registry, ready=ready)
    gc.enable()
    _run(node.run)


def _ready_line(settings: Settings, url: str, *, as_json: bool) -> str:
    folder = str(settings.server.data_dir)
    if as_json:
        return orjson.dumps({"url": url, "data_dir": folder, "pid": os.getpid()}).decode() + "\n"
    return f"Kedge is ready at {url} (data in {folder})\n"


def _run(main: Any) -> None:
    try:
        import uvloop  # noqa: PLC0415  (Linux only)
    except ImportError:
        import asyncio  # noqa: PLC0415

        asyncio.run(main())
    else:
        uvloop.run(main())
