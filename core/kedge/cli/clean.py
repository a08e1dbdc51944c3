"""`kedge clean`."""

from __future__ import annotations

from typing import Annotated

import typer

from kedge.cli.options import Json
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server

#: every blob of the account is looked at
PATIENCE_SECONDS = 3600.0


@with_server
def clean(
    server: Server,
    remove: Annotated[
        bool, typer.Option("--remove", help="Clear it away now instead of within a day.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what nothing needs any more: old versions, and files that belong to none."""
    found = server.request("POST" if remove else "GET", "/cleanup", timeout=PATIENCE_SECONDS)
    if json:
        print_json(found)
        return
    rows = [
        (one["worker"], one["number"], one["id"][:8], ago(one["created_on"])) for one in found["versions"]
    ]
    print_table(("WORKER", "NUMBER", "VERSION", "MADE"), rows, empty="Every version is kept.")
    blobs = [
        (one["kind"], str(one["count"]), f"{one['size'] / 1e6:.1f} MB", one["trouble"] or "")
        for one in found["blobs"]
    ]
    print_table(("IN THE STORE", "BLOBS", "SIZE", "TROUBLE"), blobs, empty="The store is empty.")
    if not remove:
        say("Nothing was changed. It is cleared away once a day, or now by `kedge clean --remove`.")
    elif any(one["trouble"] for one in found["blobs"]):
        say("The rest was left for another time: see TROUBLE.")
    elif found["versions"] or any(one["count"] for one in found["blobs"]):
        say("They are gone.")
    else:
        say("There was nothing to clear away.")
