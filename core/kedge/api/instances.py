"""What runs of a worker, and what it prints, on all nodes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from starlette.routing import Route

from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.logs import (
    EVENT_HEADERS,
    cursor_of,
    events,
    page_shape,
    tail_lines,
    text_answer,
)
from kedge.api.logs import QUERY as LOG_QUERY
from kedge.api.operations import answers
from kedge.api.shapes.logs import LogPageShape
from kedge.api.shapes.workers import InstancesShape
from kedge.api.versions import SCRIPT, WORKER
from kedge.db.queries.versions import find_worker
from kedge.errors import NotFound
from kedge.logs.cursor import Cursor
from kedge.logs.pages import read_page
from kedge.workers.merged_logs import MergedLogs

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.api.services import Services
    from kedge.api.shapes.workers import InstanceShape
    from kedge.workers.pool import Member, Pool
    from kedge.workers.worker_logs import WorkerLogs

INSTANCES = b"/api/peers/instances"
QUERY = LOG_QUERY | {"node": "Read what was printed on this node instead of all."}


@answers(InstancesShape)
async def list_instances(request: Request) -> Response:
    """Instances of the worker on all nodes, by version."""
    worker = await _worker_id(request)
    shown = own_instances(services(request), worker)
    exchange = services(request).places.exchange
    others = {} if exchange is None else await exchange.ask_all(INSTANCES, worker)
    for name, other in sorted(others.items()):
        if other is None:
            shown["silent"].append(name)
            continue
        shown["nodes"] += other["nodes"]
        shown["instances"] += other["instances"]
        shown["starting"] += other["starting"]
        shown["failures"] = other["failures"] | shown["failures"]
    return ok(shown)


def own_instances(services: Services, worker_id: str) -> InstancesShape:
    """Those of this node."""
    running, node = services.running, services.settings.node.name
    pools = running.instances.of_worker(worker_id) if running is not None else []
    return {
        "nodes": [node],
        "silent": [],
        "instances": [_instance(node, pool, member) for pool in pools for member in pool.members],
        "starting": sum(pool.starting for pool in pools),
        "failures": {pool.runnable.version_id: str(pool.failure) for pool in pools if pool.failure},
    }


def _instance(node: str, pool: Pool, member: Member) -> InstanceShape:
    return {
        "id": member.instance.instance_id,
        "node": node,
        "version_id": pool.runnable.version_id,
        "kind": pool.runnable.kind.value,
        "address": member.instance.address,
        "in_flight": member.in_flight,
        "age_seconds": round(time.monotonic() - member.born, 3),
    }


@answers(LogPageShape, query=QUERY, also=("text/event-stream", "text/plain"))
async def read_log(request: Request) -> Response:
    """What the worker's instances print on all nodes, or on one, as the log of a build is read.

    The text and an attempt (a part) are of one node: of the one that answers if `node` names no other.
    """
    logs = services(request).worker_logs
    worker, query = await _worker_id(request), request.query_params
    single = "attempt" in query or query.get("format") == "text"
    if "node" in query and query["node"] not in (known := await logs.nodes(worker)):
        raise NotFound(f"nothing was printed on a node of that name; there is {', '.join(known)}")
    if not logs.shared or single or "node" in query:
        return await _read_one(request, logs, logs.log_id(worker, query.get("node")))
    merged = MergedLogs(logs, worker)
    given = request.headers.get("last-event-id") or query.get("cursor")
    tail = tail_lines(request) if "tail" in query and not given else None
    cursor = await merged.start(given, tail)
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(merged.events(cursor), media_type="text/event-stream", headers=EVENT_HEADERS)
    return ok(page_shape(await merged.page(cursor, most=tail)))


async def _read_one(request: Request, logs: WorkerLogs, log_id: str) -> Response:
    if request.query_params.get("format") == "text":
        return await text_answer(request, logs, log_id)
    first = Cursor(part=await logs.first_part(log_id), offset=0)
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
