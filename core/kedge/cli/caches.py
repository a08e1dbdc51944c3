"""`kedge cache …`."""

from __future__ import annotations

from typing import Annotated

import typer

from kedge.cli.options import Json, Worker
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server

app = typer.Typer(no_args_is_help=True, help="See and clear what builds keep for the next ones.")
PER_PAGE = 200


@app.command("list")
@with_server
def list_caches(
    server: Server,
    worker: Annotated[str | None, typer.Argument(help="The worker's name or id; all without it.")] = None,
    json: Json = False,
) -> None:
    """List what builds have cached, of one worker or of all, the latest read first."""
    path = "/builds/caches" if worker is None else f"/builds/workers/{worker}/caches"
    caches = server.all(path, per_page=PER_PAGE)
    if json:
        print_json(caches)
        return
    rows = [
        (
            cache["worker"],
            cache["name"],
            cache["branch"],
            _megabytes(cache["size"]),
            ago(cache["read_on"]),
            cache["key"],
        )
        for cache in caches
    ]
    columns = ("WORKER", "CACHE", "BRANCH", "SIZE", "READ", "KEY")
    print_table(columns, rows, empty="No caches yet. Builds of triggers that cache keep them.")


@app.command()
@with_server
def purge(
    server: Server,
    worker: Worker,
    json: Json = False,
) -> None:
    """Remove all that a worker's builds have cached; the next ones begin without."""
    path = f"/builds/workers/{worker}/caches"
    found = server.get(path, per_page=1)
    result = server.delete(path)
    if json:
        print_json(result)
    elif found:
        say(f"The caches of {worker} are gone.")
    else:
        say(f"{worker} had no caches.")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
