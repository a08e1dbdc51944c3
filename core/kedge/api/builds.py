"""Builds: look at them, cancel them, run them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge.api import bodies, triggers
from kedge.api.envelope import ok, page_info
from kedge.api.operations import answers
from kedge.api.shapes import (
    BuildShape,
    BuildsShape,
    CancelledShape,
    ExtraShape,
    FailureShape,
    LimitsShape,
    MetadataShape,
    QueuedShape,
    WaitShape,
)
from kedge.builds.states import Status
from kedge.contracts.failures import ADVICE, Failure
from kedge.db.clock import to_iso
from kedge.db.queries import builds as queries
from kedge.db.queries import queue
from kedge.db.queries.builds import BuildFilter, BuildView
from kedge.errors import InvalidInput
from kedge.workers.urls import WorkerUrls

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.queries.queue import Before

VERSIONS = "version_ids"
TAGS = "external_script_ids"
MOST_IDS = 20
MOST_PER_PAGE = 200
MOST_QUEUED = 1000
FILTERS = {
    "worker": "The name or tag of a worker.",
    "branch": "The name of a branch.",
    "status": f"One of {', '.join(Status)}.",
}


@answers(BuildShape)
async def get(request: Request) -> Response:
    """One build."""
    return ok(await show_build(request, request.path_params["build_uuid"]))


@answers(list[BuildShape], query=FILTERS, paged=True)
async def list_all(request: Request) -> Response:
    """Builds of the account, newest first; `?worker=`, `?branch=` and `?status=` narrow them."""
    status = request.query_params.get("status")
    if status is not None and status not in set(Status):
        raise InvalidInput(f"status must be one of {', '.join(Status)}")
    wanted = BuildFilter(
        worker=request.query_params.get("worker"),
        branch=request.query_params.get("branch"),
        status=status,
    )
    return await _page(request, wanted)


@answers(list[BuildShape], paged=True)
async def list_of_worker(request: Request) -> Response:
    """Builds of a worker, newest first."""
    return await _page(request, BuildFilter(worker=request.path_params["worker"]))


@answers(BuildsShape, query={VERSIONS: "Ids of versions between commas."}, required=frozenset({VERSIONS}))
async def of_versions(request: Request) -> Response:
    """The builds behind `?version_ids=`, at most 20 of them."""
    ids = _ids(request, VERSIONS)
    db = bodies.services(request).db
    found = await db.read(queries.builds_of_versions, request.state.account_id, ids)
    return ok({"builds": {version: describe(request, view) for version, view in found.items()}})


@answers(
    BuildsShape,
    query={"external_script_ids": "Tags between commas."},
    required=frozenset({"external_script_ids"}),
)
async def latest(request: Request) -> Response:
    """The newest build of each of `?external_script_ids=`, at most 20 of them."""
    ids = _ids(request, TAGS)
    db = bodies.services(request).db
    found = await db.read(queries.latest_builds, request.state.account_id, ids)
    return ok({"builds": {tag: describe(request, view) for tag, view in found.items()}})


@answers(CancelledShape)
async def cancel(request: Request) -> Response:
    """End a build, waiting or running. 409 if it has stopped."""
    services = bodies.services(request)
    build_uuid = request.path_params["build_uuid"]
    await services.control.cancel(request.state.account_id, build_uuid)
    build = await show_build(request, build_uuid)
    cancelled: CancelledShape = {
        "build_uuid": build["build_uuid"],
        "build_outcome": build["build_outcome"],
        "stopped_on": build["stopped_on"],
    }
    return ok(cancelled)


@answers(BuildShape)
async def retry(request: Request) -> Response:
    """Queue a stopped build for another attempt. 409 if it has not stopped."""
    services = bodies.services(request)
    build_uuid = request.path_params["build_uuid"]
    await services.control.retry(request.state.account_id, build_uuid)
    return ok(await show_build(request, build_uuid))


@answers(list[QueuedShape], paged=True)
async def show_queue(request: Request) -> Response:
    """Builds that wait, in the order in which they will start, each with the reason."""
    page, per_page = bodies.paging(request, default=MOST_PER_PAGE, most=MOST_QUEUED)
    waiting = await bodies.services(request).db.read(queue.waiting, request.state.account_id)
    first = (page - 1) * per_page
    shown: list[QueuedShape] = [
        {
            "position": place + 1,
            "build_uuid": one.build_uuid,
            "worker": one.worker,
            "branch": one.branch,
            "is_production": one.is_production,
            "created_on": to_iso(one.created_on),
            "reason": _reason(one.wait_reason, place),
            "before": [other.build_uuid for other in waiting[max(place - queue.NEAREST, 0) : place]],
        }
        for place, one in enumerate(waiting[first : first + per_page], first)
    ]
    info = page_info(page=page, per_page=per_page, count=len(shown), total=len(waiting))
    return ok(shown, result_info=info)


@answers(LimitsShape)
async def limits(_request: Request) -> Response:
    """There is no limit on build minutes here."""
    return ok({"has_reached_build_minutes_limit": False, "build_minutes_refresh_on": None})


async def show_build(request: Request, build_uuid: str) -> BuildShape:
    """One build of the caller's account as JSON. Raises `NotFound`."""
    db = bodies.services(request).db
    return describe(request, await db.read(queries.get_build, request.state.account_id, build_uuid))


async def _page(request: Request, wanted: BuildFilter) -> Response:
    page, per_page = bodies.paging(request, default=50, most=MOST_PER_PAGE)
    found, total = await bodies.services(request).db.read(
        queries.list_builds,
        request.state.account_id,
        wanted,
        limit=per_page,
        offset=(page - 1) * per_page,
    )
    info = page_info(page=page, per_page=per_page, count=len(found), total=total)
    return ok([describe(request, view) for view in found], result_info=info)


def _ids(request: Request, name: str) -> list[str]:
    ids = [one for one in request.query_params.get(name, "").split(",") if one]
    if not 1 <= len(ids) <= MOST_IDS:
        raise InvalidInput(f"{name} must be 1 to {MOST_IDS} ids between commas")
    return ids


def describe(request: Request, view: BuildView) -> BuildShape:
    """A build as the API shows it; what is Kedge's own stands under `kedge`."""
    build = view.build
    return {
        "build_uuid": build.build_uuid,
        "status": build.status,
        "build_outcome": build.outcome,
        "created_on": to_iso(build.created_on),
        "initializing_on": to_iso(build.initializing_on),
        "running_on": to_iso(build.running_on),
        "stopped_on": to_iso(build.stopped_on),
        "modified_on": to_iso(build.modified_on),
        "preview_url": _urls(request).version(view.worker, view.version.id) if view.version else None,
        "deploy_hook": None,
        "pull_request": None,
        "trigger": triggers.describe(view.trigger, view.connection),
        "build_trigger_metadata": _metadata(view),
        "kedge": _extra(request, view),
    }


def _metadata(view: BuildView) -> MetadataShape:
    build, snapshot = view.build, view.build.snapshot
    return {
        "build_trigger_source": build.source,
        "branch": build.branch,
        "commit_hash": build.commit_hash,
        "commit_message": build.commit_message,
        "author": build.author,
        "build_command": snapshot["build_command"],
        "deploy_command": snapshot["deploy_command"],
        "root_directory": snapshot["root_directory"],
        "build_token_uuid": snapshot["build_token_uuid"],
        "build_token_name": snapshot["build_token_name"],
        "environment_variables": {
            key: {"is_secret": known["is_secret"], "created_on": to_iso(known["created_on"]), "value": None}
            for key, known in snapshot["environment_variables"].items()
        },
        "repo_name": snapshot["repo_name"],
        "provider_account_name": snapshot["provider_account_name"],
        "provider_type": snapshot["provider_type"],
    }


def _extra(request: Request, view: BuildView) -> ExtraShape:
    build = view.build
    public_url = bodies.services(request).public_url
    return {
        "worker": view.worker,
        "attempt": build.attempt,
        "attempts": [
            {
                "number": attempt.number,
                "node": attempt.node,
                "compute": attempt.compute,
                "location": attempt.location,
                "started_on": to_iso(attempt.started_on),
                "ended_on": to_iso(attempt.ended_on),
            }
            for attempt in view.attempts
        ],
        "is_production": build.is_production,
        "exit_code": build.exit_code,
        "failure": _failure(build.failure, build.failure_message),
        "message": build.failure_message,
        "phases": build.phases or [],
        "wait": None if view.before is None else _wait(view, view.before),
        "url": _urls(request).production(view.worker) if view.version else None,
        "version_id": view.version.id if view.version else build.version_id,
        "log_url": f"{public_url}{request.scope.get('root_path', '')}/builds/builds/{build.build_uuid}/logs",
    }


def _wait(view: BuildView, before: Before) -> WaitShape:
    reason = _reason(view.build.wait_reason, before.count)
    return {"position": before.count + 1, "reason": reason, "before": before.nearest}


def _reason(noted: str | None, before: int) -> str:
    """Why a build waits: what the scheduler noted, which looks only at those whose turn comes next."""
    if noted is not None:
        return noted
    return f"it is behind {before} other{'s' if before > 1 else ''}" if before else "it is about to start"


def _failure(failure: str | None, message: str | None) -> FailureShape | None:
    if failure is None:
        return None
    return {"class": failure, "message": message, "advice": ADVICE[Failure(failure)]}


def _urls(request: Request) -> WorkerUrls:
    services = bodies.services(request)
    return WorkerUrls(public_url=services.public_url, domain=services.settings.server.domain)


routes = [
    Route("/builds", list_all, methods=["GET"]),
    Route("/builds/queue", show_queue, methods=["GET"]),
    Route("/builds/account/limits", limits, methods=["GET"]),
    Route("/builds/builds", of_versions, methods=["GET"]),
    Route("/builds/builds/latest", latest, methods=["GET"]),
    Route("/builds/builds/{build_uuid}", get, methods=["GET"]),
    Route("/builds/builds/{build_uuid}/cancel", cancel, methods=["PUT"]),
    Route("/builds/builds/{build_uuid}/retry", retry, methods=["PUT"]),
    Route("/builds/workers/{worker}/builds", list_of_worker, methods=["GET"]),
]
