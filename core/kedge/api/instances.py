"""What runs of a worker on this node, and what it prints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from starlette.routing import Route

from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.logs import EVENT_HEADERS, QUERY, cursor_of, events, page_shape, text_answer
from kedge.api.operations import answers
from kedge.api.shapes import InstancesShape, LogPageShape
from kedge.api.versions import SCRIPT, WORKER
from kedge.builds.log_pages import read_page
from kedge.builds.logs import Cursor
from kedge.db.queries.versions import find_worker

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.api.shapes import InstanceShape
    from kedge.workers.pool import Member, Pool


@answers(InstancesShape)
async def list_instances(request: Request) -> Response:
    """Instances of the worker on the node that answers, by version."""
    worker = await _worker_id(request)
    running = services(request).running
    pools = running.instances.of_worker(worker) if running is not None else []
    shown: InstancesShape = {
        "node": services(request).settings.node.name,
        "instances": [_instance(pool, member) for pool in pools for member in pool.members],
        "starting": sum(pool.starting for pool in pools),
        "failures": {pool.runnable.version_id: str(pool.failure) for pool in pools if pool.failure},
    }
    return ok(shown)


def _instance(pool: Pool, member: Member) -> InstanceShape:
    return {
        "id": member.instance.instance_id,
        "version_id": pool.runnable.version_id,
        "kind": pool.runnable.kind.value,
        "address": member.instance.address,
        "in_flight": member.in_flight,
        "age_seconds": round(time.monotonic() - member.born, 3),
    }


@answers(LogPageShape, query=QUERY, also=("text/event-stream", "text/plain"))
async def read_log(request: Request) -> Response:
    """What the worker's instances print on the node that answers, as the log of a build is read."""
    logs = services(request).worker_logs
    worker = await _worker_id(request)
    log_id = logs.log_id(worker)
    if request.query_params.get("format") == "text":
        return await text_answer(request, logs, log_id)
    first = Cursor(attempt=await logs.first_part(worker), offset=0)
    # what was dropped meanwhile is gone: reading goes on with the oldest there is
    cursor = max(await cursor_of(request, logs, log_id) or first, first)
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(
            events(logs, log_id, cursor), media_type="text/event-stream", headers=EVENT_HEADERS
        )
    return ok(page_shape(await read_page(logs, log_id, cursor)))


async def _worker_id(request: Request) -> str:
    found = await services(request).db.read(
        find_worker, request.state.account_id, request.path_params["worker"]
    )
    return found.id


routes = [
    route
    for prefix in (WORKER, SCRIPT)
    for route in (
        Route(f"{prefix}/instances", list_instances, methods=["GET"]),
        Route(f"{prefix}/logs", read_log, methods=["GET"]),
    )
]
