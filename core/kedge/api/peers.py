"""What nodes ask each other; each question is signed by the key of the cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson
from starlette.responses import JSONResponse
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.api.instances import INSTANCES, own_instances
from kedge.errors import Unauthorized
from kedge.placement.cluster_key import FORWARD
from kedge.workers.places.exchange import PATH, answer_exchange, signed_target
from kedge.workers.warm_up import WARM

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LARGEST_QUESTION = 256 * 1024


async def exchange(request: Request) -> Response:
    """Tell a node of this cluster what was measured here, and measure what it wants to know."""
    began = time.perf_counter()
    return JSONResponse(answer_exchange(services(request).places.prober, await _question(request), began))


async def instances(request: Request) -> Response:
    """Tell a node of this cluster what runs of a worker here."""
    worker = str(orjson.loads(await _question(request)))
    return JSONResponse(own_instances(services(request), worker))


async def warm(request: Request) -> Response:
    """Have a deployment's versions answer here too, before a node of this cluster lets it serve."""
    question, running = dict(orjson.loads(await _question(request))), services(request).running
    if running is None:
        return JSONResponse({"started": False, "failure": None})
    uuid, again = str(question["deployment"]), bool(question["again"])
    return JSONResponse(await running.warm_up.asked(uuid, again=again))


async def _question(request: Request) -> bytes:
    """What a node of this cluster asks. Raises `Unauthorized` for anybody else."""
    key = services(request).places.key
    if key is None:
        raise Unauthorized("this node has no peers: it believes nobody")
    body = await bodies.read_bytes(request, LARGEST_QUESTION)
    said = request.headers.get(FORWARD.decode(), "").encode("latin-1")
    host = request.headers.get("host", "").encode("latin-1")
    key.verify(said, "POST", host, signed_target(body, request.url.path.encode()))
    return body


routes = [
    Route(path.decode(), answer, methods=["POST"], include_in_schema=False)
    for path, answer in ((PATH, exchange), (INSTANCES, instances), (WARM, warm))
]
