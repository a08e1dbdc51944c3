"""Logs, each from one address: pages of lines, a live stream, or the whole text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.logs import LogPageShape
from kedge.builds.control import own_build
from kedge.contracts.log_store import LogKey
from kedge.logs.cursor import Cursor
from kedge.logs.pages import LogText, read_page
from kedge.logs.topics import Frame, LogState
from kedge.workers.ranges import Unsatisfiable, parse_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from kedge.api.services import Services
    from kedge.logs.logs import Logs
    from kedge.logs.pages import LogPage

MOST_TAIL_LINES = 10_000
QUERY = {
    "cursor": "Where to go on: the cursor of an earlier answer.",
    "tail": "Start so many lines before the end.",
    "attempt": "Read this attempt instead of the latest.",
    "format": "`text` for the whole log as text, with ranges.",
}
EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
TEXT_HEADERS = {"X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}


@answers(LogPageShape, query=QUERY, also=("text/event-stream", "text/plain"))
async def read_log(request: Request) -> Response:
    """JSON pages by `?cursor=`; a stream for `Accept: text/event-stream`; text for `?format=text`.

    `?tail=N` starts N lines before the end; `?attempt=N` reads an earlier attempt.
    """
    services: Services = request.app.state.services
    build_uuid = request.path_params["build_uuid"]
    await services.db.read(own_build, request.state.account_id, build_uuid)
    if request.query_params.get("format") == "text":
        return await text_answer(request, services.logs, build_uuid)
    cursor = await cursor_of(request, services.logs, build_uuid)
    if "text/event-stream" in request.headers.get("accept", ""):
        live = events(services.logs, build_uuid, cursor)
        return StreamingResponse(live, media_type="text/event-stream", headers=EVENT_HEADERS)
    return ok(page_shape(await read_page(services.logs, build_uuid, cursor)))


def page_shape(page: LogPage) -> LogPageShape:
    """A page as the API shows it."""
    return {"lines": page.lines, "cursor": page.cursor, "truncated": page.truncated}


async def cursor_of(request: Request, logs: Logs, log_id: str) -> Cursor | None:
    """Where the request wants to read from; `None` for the beginning."""
    given = request.headers.get("last-event-id") or request.query_params.get("cursor")
    if given:
        return Cursor.parse(given)
    if "tail" in request.query_params:
        return await logs.tail(log_id, tail_lines(request))
    if "attempt" in request.query_params:
        return Cursor(part=bodies.number(request, "attempt", default=0, least=0), offset=0)
    return None


def tail_lines(request: Request) -> int:
    """How many of the last lines are asked for. Raises `InvalidInput`."""
    return bodies.number(request, "tail", default=0, least=0, most=MOST_TAIL_LINES)


async def events(logs: Logs, log_id: str, cursor: Cursor | None) -> AsyncIterator[bytes]:
    """The log as it grows, as server-sent events."""
    async for item in logs.follow(log_id, cursor):
        if isinstance(item, Frame):
            yield item.event
        elif isinstance(item, LogState):
            state = {"attempt": item.part, "status": item.status, "build_outcome": item.outcome}
            yield b"event: status\ndata: %b\n\n" % orjson.dumps(state)
        else:
            yield b": still here\n"
    yield b"event: end\ndata: {}\n\n"


async def text_answer(request: Request, logs: Logs, log_id: str) -> Response:
    """A part of a log as one text, or a range of it."""
    state = await logs.state(log_id)
    part = bodies.number(request, "attempt", default=state.part, least=0)
    key = LogKey(log_id=log_id, part=part)
    text = LogText(key=key, extent=await logs.store.extent(key))
    start, end, status = 0, text.size, 200
    headers = dict(TEXT_HEADERS)
    if "range" in request.headers:
        try:
            wanted = parse_range(request.headers["range"].encode("latin-1"), text.size)
        except Unsatisfiable:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{text.size}"})
        if wanted is not None:
            (start, end), status = wanted, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{text.size}"
    headers["Content-Length"] = str(end - start)
    body = text.read(logs, start, end)
    return StreamingResponse(
        body, status_code=status, headers=headers, media_type="text/plain; charset=utf-8"
    )


routes = [Route("/builds/builds/{build_uuid}/logs", read_log, methods=["GET"])]
