"""`kedge queue`: who waits, why, and behind whom."""

from __future__ import annotations

from kedge.cli.options import Json
from kedge.cli.output import ago, print_json, print_table
from kedge.cli.with_server import with_server
from kedge.client import Server

#: the most that the server gives at once
PER_PAGE = 1000


@with_server
def queue(
    server: Server,
    json: Json = False,
) -> None:
    """Show the builds that wait, in the order in which they will start."""
    waiting = server.all("/builds/queue", per_page=PER_PAGE)
    if json:
        print_json(waiting)
        return
    rows = [
        (
            build["position"],
            build["build_uuid"][:8],
            build["worker"],
            build["branch"],
            ago(build["created_on"]),
            build["reason"],
        )
        for build in waiting
    ]
    columns = ("PLACE", "BUILD", "WORKER", "BRANCH", "QUEUED", "WAITS BECAUSE")
    print_table(columns, rows, empty="Nothing waits.")
