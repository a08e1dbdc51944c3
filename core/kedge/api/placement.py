"""Where the requests of a worker run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes import DurationsShape, ExplanationsShape
from kedge.api.versions import SCRIPT, WORKER
from kedge.db.queries.versions import find_worker
from kedge.workers.places.placing import status_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


@answers(ExplanationsShape)
async def explain(request: Request) -> Response:
    """Candidates, what was measured and what was decided: as of now for requests that come in here.

    What other locations that share the database decided is told as they kept it last.
    """
    worker = await _worker_id(request)
    placing = services(request).places.placing
    routes = await services(request).places.memory.explain(worker)
    shown: ExplanationsShape = {
        "location": placing.here,
        "locations": placing.locations,
        "placement_status": status_of(one["status"] for one in routes),
        "routes": routes,
    }
    return ok(shown)


@answers(DurationsShape)
async def durations(request: Request) -> Response:
    """How long requests that came in at the node that answers took, placed and not."""
    worker = await _worker_id(request)
    placing = services(request).places.placing
    shown: DurationsShape = {"location": placing.here, "series": placing.durations.show(worker)}
    return ok(shown)


async def _worker_id(request: Request) -> str:
    account, name = request.state.account_id, request.path_params["worker"]
    return (await services(request).db.read(find_worker, account, name)).id


routes = [
    route
    for prefix in (WORKER, SCRIPT)
    for route in (
        Route(f"{prefix}/placement", explain, methods=["GET"]),
        Route(f"{prefix}/placement/durations", durations, methods=["GET"]),
    )
]
