"""Where the requests of a worker run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.near_database import WRITES
from kedge.api.operations import answers
from kedge.api.shapes.placement import ControlPlaneShape, DurationsShape, ExplanationsShape
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
        "smart": placing.smart,
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


@answers(ControlPlaneShape)
async def control_plane(request: Request) -> Response:
    """Where calls that write are done, what that was expected to take, and what it took."""
    placing, control = services(request).places.placing, services(request).control_plane
    weighed = placing.weigh_database(control)
    best = control.best(weighed)
    shown: ControlPlaneShape = {
        "location": placing.here,
        "writes_go_to": best.location,
        "expected_here_ms": weighed[0].expected_ms,
        "expected_there_ms": best.expected_ms,
        "nodes": [
            {
                "name": one.name,
                "location": one.location,
                "database_ms": one.database_ms,
                "way_ms": one.way_ms,
            }
            for one in weighed
        ],
        "series": [one for one in placing.durations.show(WRITES) if one["route"] != "*"],
    }
    return ok(shown)


async def _worker_id(request: Request) -> str:
    account, name = request.state.account_id, request.path_params["worker"]
    return (await services(request).db.read(find_worker, account, name)).id


routes = [
    Route("/workers/placement/control-plane", control_plane, methods=["GET"]),
    *(
        route
        for prefix in (WORKER, SCRIPT)
        for route in (
            Route(f"{prefix}/placement", explain, methods=["GET"]),
            Route(f"{prefix}/placement/durations", durations, methods=["GET"]),
        )
    ),
]
