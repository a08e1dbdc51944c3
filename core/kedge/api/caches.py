"""What builds of a worker have kept for the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes import CacheShape
from kedge.db.clock import to_iso

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.queries.caches import Found


@answers(list[CacheShape])
async def list_caches(request: Request) -> Response:
    """The caches of a worker, the latest read first."""
    found = await bodies.services(request).caches.list(
        request.state.account_id, request.path_params["worker"]
    )
    return ok([describe(one) for one in found])


@answers(None)
async def purge(request: Request) -> Response:
    """Forget all that the builds of a worker have cached."""
    await bodies.services(request).caches.purge(request.state.account_id, request.path_params["worker"])
    return ok(None)


def describe(found: Found) -> CacheShape:
    """A cache as the API shows it."""
    entry, archive = found.entry, found.archive
    return {
        "name": entry.name,
        "key": entry.key,
        "branch": entry.branch,
        "size": archive.size,
        "tree_bytes": archive.tree_bytes,
        "file_count": archive.file_count,
        "build_uuid": archive.build_uuid,
        "created_on": to_iso(archive.created_on),
        "read_on": to_iso(archive.read_on),
    }


routes = [
    Route("/builds/workers/{worker}/caches", list_caches, methods=["GET"]),
    Route("/builds/workers/{worker}/caches", purge, methods=["DELETE"]),
]
