"""Uploads and versions of a worker."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.api.envelope import ok, page_info
from kedge.api.operations import answers
from kedge.api.run_body import RunBody, run_spec
from kedge.api.shapes.deployments import OutcomeShape, failure_shape
from kedge.api.shapes.versions import BegunShape, CompletedShape, VersionMetadata, VersionShape, VersionsShape
from kedge.config.wording import NO_NUL, SHA256
from kedge.db.clock import to_iso
from kedge.errors import TooLarge
from kedge.workers.completion import Wish
from kedge.workers.manifest import LARGEST_PROGRAM_FILE, File, Manifest
from kedge.workers.urls import WorkerUrls
from kedge.workers.versions import NewVersion

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.tables import Version

#: bytes of the largest manifest that is taken in
MANIFEST_LIMIT = 16 * 1024 * 1024
MOST_PER_PAGE = 100
#: an answer to "make it live" waits so long for the instances of a version
OUTCOME_SECONDS = 20.0

Line = Annotated[str, Field(max_length=1024, pattern=NO_NUL)]


class FileEntry(bodies.Strict):
    """The content of one path."""

    sha256: str = Field(pattern=SHA256)
    size: int = Field(ge=0)
    executable: bool = False


class UploadBody(bodies.Strict):
    """A version that is about to be uploaded."""

    kind: Literal["static", "asgi", "command", "image"]
    files: dict[str, FileEntry]
    run: RunBody | None = None
    commit_hash: Line | None = None
    branch: Line | None = None
    message: Line = ""


class CompleteBody(bodies.Strict):
    """What shall become of an upload."""

    deploy: bool = True
    alias: str | None = None


@answers(BegunShape)
async def begin(request: Request) -> Response:
    """Take in a manifest; tell which contents are missing."""
    body = await read_body(request, UploadBody, limit=MANIFEST_LIMIT)
    files = {path: File(entry.sha256, entry.size, entry.executable) for path, entry in body.files.items()}
    run = run_spec(body.kind, body.run, services(request).running)
    new = NewVersion(
        manifest=Manifest(files, kind=body.kind, run=run),
        commit_hash=body.commit_hash,
        branch=body.branch,
        message=body.message,
    )
    begun = await services(request).versions.begin(
        request.state.principal, request.path_params["worker"], new
    )
    return ok(asdict(begun))


@answers(None)
async def put_file(request: Request) -> Response:
    """Store one content."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and len(length) < 20 and int(length) > LARGEST_PROGRAM_FILE:
        raise TooLarge(f"a file may have {LARGEST_PROGRAM_FILE >> 20} MiB")
    path = request.path_params
    await services(request).versions.put_file(
        request.state.principal, path["worker"], path["upload_id"], path["sha256"], request.stream()
    )
    return ok(None)


@answers(CompletedShape)
async def complete(request: Request) -> Response:
    """Make the version and let it serve."""
    body = await read_body(request, CompleteBody, limit=4096)
    path = request.path_params
    wish = Wish(deploy=body.deploy, alias=body.alias or None, urls=urls(request))
    completed = await services(request).versions.complete(
        request.state.principal, path["worker"], path["upload_id"], wish
    )
    return ok({**asdict(completed), **await outcome(request, completed.deployment_id)})


async def outcome(request: Request, deployment_id: str | None) -> OutcomeShape:
    """How the deployment stands: awaited for a while, so that who asks again need not ask often."""
    running = services(request).running
    if deployment_id is None or running is None:
        return {"state": None, "failure": None}
    deployment = await running.rollouts.outcome(deployment_id, patience=OUTCOME_SECONDS)
    if deployment is None:
        return {"state": None, "failure": None}
    return {"state": deployment.state, "failure": failure_shape(deployment.failure)}


@answers(VersionsShape, paged=True)
async def list_versions(request: Request) -> Response:
    """Versions, newest first, by `?page=` and `?per_page=`."""
    page = bodies.number(request, "page", default=1, most=10**6)
    per_page = bodies.number(request, "per_page", default=MOST_PER_PAGE, most=MOST_PER_PAGE)
    found, total = await services(request).versions.page(
        request.state.account_id,
        request.path_params["worker"],
        limit=per_page,
        offset=(page - 1) * per_page,
    )
    info = page_info(page=page, per_page=per_page, count=len(found), total=total)
    return ok({"items": [describe(version) for version in found]}, result_info=info)


@answers(VersionShape)
async def get_version(request: Request) -> Response:
    """One version."""
    path = request.path_params
    version = await services(request).versions.get(
        request.state.account_id, path["worker"], path["version_id"]
    )
    return ok(describe(version))


def describe(version: Version) -> VersionShape:
    """A version as the REST API shows it; what is Kedge's own stands under `kedge`."""
    metadata: VersionMetadata = {
        "created_on": to_iso(version.created_on),
        "modified_on": to_iso(version.created_on),
        "source": "build" if version.build_uuid else "api",
        "hasPreview": True,
    }
    if version.author:
        metadata["author_email"] = version.author
    return {
        "id": version.id,
        "number": version.number,
        "metadata": metadata,
        "annotations": {"workers/message": version.message} if version.message else {},
        "kedge": {
            "kind": version.kind,
            "digest": version.digest,
            "file_count": version.file_count,
            "byte_count": version.byte_count,
            "commit_hash": version.commit_hash,
            "branch": version.branch,
            "build_uuid": version.build_uuid,
        },
    }


def urls(request: Request) -> WorkerUrls:
    """Where the workers of this installation are reached."""
    return WorkerUrls(
        public_url=services(request).public_url, domain=services(request).settings.server.domain
    )


async def read_body(request: Request, model: type[bodies.Body], *, limit: int) -> bodies.Body:
    """A JSON body that may be large, checked beside the event loop."""
    data = await bodies.read_bytes(request, limit)
    return await asyncio.to_thread(model.model_validate_json, data)


WORKER = "/workers/workers/{worker}"
#: the older name of the same, which existing clients use
SCRIPT = "/workers/scripts/{worker}"

#: all that a deploy calls
upload_routes = [
    Route(f"{WORKER}/versions/uploads", begin, methods=["POST"]),
    Route(f"{WORKER}/versions/uploads/{{upload_id}}/files/{{sha256}}", put_file, methods=["PUT"]),
    Route(f"{WORKER}/versions/uploads/{{upload_id}}/complete", complete, methods=["POST"]),
]

routes = [
    *upload_routes,
    *(
        route
        for prefix in (WORKER, SCRIPT)
        for route in (
            Route(f"{prefix}/versions", list_versions, methods=["GET"]),
            Route(f"{prefix}/versions/{{version_id}}", get_version, methods=["GET"]),
        )
    ),
]
