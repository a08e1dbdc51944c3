"""What builds of a worker have kept for the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok, page_info
from kedge.api.operations import answers
from kedge.api.shapes.caches import CacheShape
from kedge.db.clock import to_iso
from kedge.db.queries import caches as queries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.queries.caches import Found

MOST_PER_PAGE = 200


@answers(list[CacheShape], paged=True)
async def list_all(request: Request) -> Response:
    """The caches of all workers of the account, the latest read first."""
    return await _page(request, None)


@answers(list[CacheShape], paged=True)
async def list_caches(request: Request) -> Response:
    """The caches of a worker, the latest read first."""
    return await _page(request, request.path_params["worker"])


@answers(None)
async def purge(request: Request) -> Response:
    """Forget all that the builds of a worker have cached."""
    await bodies.services(request).caches.purge(request.state.account_id, request.path_params["worker"])
    return ok(None)


async def _page(request: Request, worker: str | None) -> Response:
    page, per_page = bodies.paging(request, default=50, most=MOST_PER_PAGE)
    services = bodies.services(request)
    found, total = await services.caches.list(
        request.state.account_id, worker, limit=per_page, offset=(page - 1) * per_page
    )
    names = await services.db.read(queries.worker_names, found)
    info = page_info(page=page, per_page=per_page, count=len(found), total=total)
    return ok([describe(one, names.get(one.entry.worker_id, "")) for one in found], result_info=info)


def describe(found: Found, worker: str) -> CacheShape:
    """A cache of a worker of that name, as the API shows it."""
    entry, archive = found.entry, found.archive
    return {
        "worker": worker,
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
    Route("/builds/caches", list_all, methods=["GET"]),
    Route("/builds/workers/{worker}/caches", list_caches, methods=["GET"]),
    Route("/builds/workers/{worker}/caches", purge, methods=["DELETE"]),
]
