"""The routes by which runners send an archive part by part, straight to the store, while they pack it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.runner_caches import CACHES, Key, Md5, Name, PackedBody, Size, Version, attempt_of, presigned
from kedge.api.shapes.caches import PartedShape, PartShape
from kedge.builds.cache_parts import Part
from kedge.db.queries.caches import Wanted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.builds.cache_parts import CacheParts

MOST_PARTS = 10_000

ETag = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class Begun(bodies.Strict):
    """An archive that is being packed."""

    name: Name
    version: Version
    key: Key


class PartBody(bodies.Strict):
    """A part that is about to be sent."""

    number: Annotated[int, Field(ge=1, le=MOST_PARTS)]
    size: Size
    md5: Md5


class Joined(PackedBody):
    """An archive whose parts were sent, and what the store has answered to each of them."""

    etags: Annotated[list[ETag], Field(min_length=1, max_length=MOST_PARTS)]


@answers(PartedShape)
async def begin(request: Request) -> Response:
    """Begin an archive in parts, or learn that it is to be announced once it is packed."""
    attempt = await attempt_of(request)
    body = await bodies.read(request, Begun)
    begun = await _parts(request).begin(attempt, Wanted(name=body.name, version=body.version, key=body.key))
    return ok({"upload": None if begun is None else {"id": begun[0], "part_size": begun[1]}})


@answers(PartShape)
async def sign(request: Request) -> Response:
    """How to send a part."""
    attempt = await attempt_of(request)
    body = await bodies.read(request, PartBody)
    part = Part(number=body.number, size=body.size, md5=bytes.fromhex(body.md5))
    put = await _parts(request).sign(attempt, request.path_params["archive_id"], part)
    return ok({"put": presigned(put)})


@answers(None)
async def join(request: Request) -> Response:
    """All parts are there: later builds may find the archive."""
    attempt = await attempt_of(request)
    body = await bodies.read(request, Joined)
    await _parts(request).join(attempt, request.path_params["archive_id"], body.packed, body.etags)
    return ok(None)


def _parts(request: Request) -> CacheParts:
    return bodies.services(request).cache_parts


routes = [
    Route(f"{CACHES}/parts", begin, methods=["POST"]),
    Route(f"{CACHES}/{{archive_id}}/parts", sign, methods=["POST"]),
    Route(f"{CACHES}/{{archive_id}}/join", join, methods=["POST"]),
]
