"""`kedge cache …`."""

from __future__ import annotations

import typer

from kedge.cli.options import Json, Worker
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server

app = typer.Typer(no_args_is_help=True, help="See and clear what builds keep for the next ones.")


@app.command("list")
@with_server
def list_caches(
    server: Server,
    worker: Worker,
    json: Json = False,
) -> None:
    """List a worker's caches, the latest read first."""
    caches = server.get(f"/builds/workers/{worker}/caches")
    if json:
        print_json(caches)
        return
    rows = [
        (cache["name"], cache["branch"], _megabytes(cache["size"]), ago(cache["read_on"]), cache["key"])
        for cache in caches
    ]
    columns = ("CACHE", "BRANCH", "SIZE", "READ", "KEY")
    print_table(columns, rows, empty="No caches yet. Builds of triggers that cache keep them.")


@app.command()
@with_server
def purge(
    server: Server,
    worker: Worker,
    json: Json = False,
) -> None:
    """Remove all that a worker's builds have cached; the next ones begin without."""
    result = server.delete(f"/builds/workers/{worker}/caches")
    if json:
        print_json(result)
    else:
        say(f"The caches of {worker} are gone.")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
