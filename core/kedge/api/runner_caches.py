"""The routes by which runners find, fetch and keep caches: `/api/builds/{build_uuid}/caches…`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, StringConstraints
from starlette.responses import StreamingResponse
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.runner import identify
from kedge.api.shapes.caches import HitShape, KnownShape, LookupShape, TransferShape, UploadShape
from kedge.builds.caches import Packed
from kedge.config.wording import SHA256, SHORT_NAME
from kedge.db.queries.caches import Wanted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.builds.caches import Caches
    from kedge.contracts.attempt_name import AttemptName
    from kedge.contracts.blobs import PresignedRequest

MOST_RESTORE_KEYS = 10
LARGEST = 1 << 62


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must hold printable characters only")
    return text


Name = Annotated[str, StringConstraints(pattern=SHORT_NAME)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_printable)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, StringConstraints(pattern=SHA256)]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Size = Annotated[int, Field(ge=1, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]


class Lookup(bodies.Strict):
    """What a build would like to have."""

    name: Name
    version: Version
    key: Key
    restore_keys: Annotated[list[Key], Field(max_length=MOST_RESTORE_KEYS)] = Field(default_factory=list)


class Known(bodies.Strict):
    """A tree that may be kept already."""

    name: Name
    version: Version
    key: Key
    fingerprint: Digest


class PackedBody(bodies.Strict):
    """An archive that was packed."""

    fingerprint: Digest
    size: Size
    sha256: Digest
    tree_bytes: Count
    file_count: Annotated[int, Field(ge=0, le=2**31 - 1)]

    @property
    def packed(self) -> Packed:
        """The same for those who keep it."""
        return Packed(**{field.name: getattr(self, field.name) for field in fields(Packed)})


class Upload(PackedBody):
    """An archive that is about to be sent."""

    name: Name
    version: Version
    key: Key
    md5: Md5


@answers(LookupShape)
async def look_up(request: Request) -> Response:
    """The cache that fits best, and how to get it: by `get`, or through Kedge if that is null."""
    attempt = await attempt_of(request)
    body = await bodies.read(request, Lookup)
    wanted = Wanted(name=body.name, version=body.version, key=body.key, restore_keys=body.restore_keys)
    hit = await _caches(request).look_up(attempt, wanted)
    if hit is None:
        return ok({"hit": None})
    found, get = hit
    archive = found.archive
    described: HitShape = {
        "id": archive.id,
        "key": found.entry.key,
        "branch": found.entry.branch,
        "size": archive.size,
        "sha256": archive.sha256,
        "fingerprint": archive.fingerprint,
        "tree_bytes": archive.tree_bytes,
        "file_count": archive.file_count,
        "get": presigned(get),
    }
    return ok(LookupShape(hit=described))


@answers(KnownShape)
async def know(request: Request) -> Response:
    """Whether a tree is kept already, so that it need not be packed and sent."""
    attempt = await attempt_of(request)
    body = await bodies.read(request, Known)
    wanted = Wanted(name=body.name, version=body.version, key=body.key)
    return ok({"known": await _caches(request).know(attempt, wanted, body.fingerprint)})


@answers(UploadShape)
async def begin(request: Request) -> Response:
    """Announce an archive: it is sent by `put`, or through Kedge if that is null."""
    attempt = await attempt_of(request)
    body = await bodies.read(request, Upload)
    wanted = Wanted(name=body.name, version=body.version, key=body.key)
    archive_id, put = await _caches(request).begin(attempt, wanted, body.packed, bytes.fromhex(body.md5))
    return ok({"id": archive_id, "put": presigned(put)})


@answers(None)
async def write(request: Request) -> Response:
    """The bytes of an archive, where the store has no URLs."""
    attempt = await attempt_of(request)
    await _caches(request).write(attempt, request.path_params["archive_id"], request.stream())
    return ok(None)


@answers(None, also=("application/octet-stream",))
async def read(request: Request) -> Response:
    """The bytes of an archive, where the store has no URLs."""
    attempt = await attempt_of(request)
    size, data = await _caches(request).read(attempt, request.path_params["archive_id"])
    headers = {"content-length": str(size)}
    return StreamingResponse(data, media_type="application/octet-stream", headers=headers)


@answers(None)
async def complete(request: Request) -> Response:
    """The archive is there: later builds may find it."""
    attempt = await attempt_of(request)
    await _caches(request).complete(attempt, request.path_params["archive_id"])
    return ok(None)


@answers(None)
async def drop(request: Request) -> Response:
    """The archive is not wanted after all: what was sent of it goes."""
    attempt = await attempt_of(request)
    await _caches(request).drop(attempt, request.path_params["archive_id"])
    return ok(None)


@answers(None)
async def reject(request: Request) -> Response:
    """The archive cannot be restored: nobody shall find it any more."""
    attempt = await attempt_of(request)
    await _caches(request).reject(attempt, request.path_params["archive_id"])
    return ok(None)


async def attempt_of(request: Request) -> AttemptName:
    """The attempt whose runner asks. Raises `Forbidden`."""
    return (await identify(request)).attempt


def _caches(request: Request) -> Caches:
    return bodies.services(request).caches


def presigned(request: PresignedRequest | None) -> TransferShape | None:
    """A signed request, or none, as JSON."""
    return None if request is None else {"url": request.url, "headers": dict(request.headers)}


CACHES = "/api/builds/{build_uuid}/caches"

routes = [
    Route(f"{CACHES}/lookup", look_up, methods=["POST"]),
    Route(f"{CACHES}/known", know, methods=["POST"]),
    Route(CACHES, begin, methods=["POST"]),
    Route(f"{CACHES}/{{archive_id}}", write, methods=["PUT"]),
    Route(f"{CACHES}/{{archive_id}}", read, methods=["GET"]),
    Route(f"{CACHES}/{{archive_id}}", drop, methods=["DELETE"]),
    Route(f"{CACHES}/{{archive_id}}/complete", complete, methods=["POST"]),
    Route(f"{CACHES}/{{archive_id}}/reject", reject, methods=["POST"]),
]
