"""What of an account nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.cleanup import CleanupShape
from kedge.db.clock import to_iso
from kedge.db.queries import workers

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.api.services import Services
    from kedge.cleaning.report import Report


@answers(CleanupShape)
async def look(request: Request) -> Response:
    """What would be cleared away now: versions that no rule keeps, and what nothing needs in the store."""
    services = bodies.services(request)
    return ok(await _describe(services, await services.cleaner.look(request.state.account_id)))


@answers(CleanupShape)
async def clean(request: Request) -> Response:
    """Clear it away, and tell what is gone. It happens by itself once a day."""
    services = bodies.services(request)
    return ok(await _describe(services, await services.cleaner.clean(request.state.account_id)))


async def _describe(services: Services, report: Report) -> CleanupShape:
    names = await services.db.read(workers.names, {version.worker_id for version in report.versions})
    return {
        "versions": [
            {
                "id": version.id,
                "worker": names.get(version.worker_id, version.worker_id),
                "number": version.number,
                "created_on": to_iso(version.created_on),
            }
            for version in report.versions
        ],
        "blobs": [
            {"kind": kind, "count": amount.count, "size": amount.size, "trouble": amount.trouble}
            for kind, amount in report.blobs.items()
        ],
    }


routes = [
    Route("/cleanup", look, methods=["GET"]),
    Route("/cleanup", clean, methods=["POST"]),
]
