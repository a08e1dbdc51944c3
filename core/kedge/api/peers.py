"""What nodes ask each other; each question is signed by the key of the cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.errors import Unauthorized
from kedge.placement.peers import FORWARD
from kedge.workers.places.exchange import PATH, answer_exchange, signed_target

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LARGEST_QUESTION = 256 * 1024


async def exchange(request: Request) -> Response:
    """Tell a node of this cluster what was measured here, and measure what it wants to know."""
    began = time.perf_counter()
    places = services(request).places
    if places.key is None:
        raise Unauthorized("this node has no peers: it believes nobody")
    body = await bodies.read_bytes(request, LARGEST_QUESTION)
    said = request.headers.get(FORWARD.decode(), "").encode("latin-1")
    host = request.headers.get("host", "").encode("latin-1")
    places.key.verify(said, "POST", host, signed_target(body))
    return JSONResponse(answer_exchange(places.prober, body, began))


routes = [Route(PATH.decode(), exchange, methods=["POST"], include_in_schema=False)]
