"""Builds: look at them, cancel them, run them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema  # noqa: TC002  (pydantic reads it when it runs)
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.build_view import describe, show_build, wait_reason
from kedge.api.envelope import ok, page_info
from kedge.api.operations import answers
from kedge.api.rules import BranchName  # noqa: TC001  (pydantic reads it when it runs)
from kedge.api.shapes.builds import BuildShape, BuildsShape, CancelledShape, LimitsShape, QueuedShape
from kedge.build_states import Outcome, Status
from kedge.config.wording import COMMIT
from kedge.db.clock import to_iso
from kedge.db.queries import builds as queries
from kedge.db.queries import queue
from kedge.db.queries.builds import BuildFilter
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

VERSIONS = "version_ids"
TAGS = "external_script_ids"
MOST_IDS = 20
MOST_PER_PAGE = 200
MOST_QUEUED = 1000
FILTERS = {
    "worker": "The name or tag of a worker.",
    "branch": "The name of a branch.",
    "status": f"One of {', '.join(Status)}.",
    "outcome": f"How the build ended: one of {', '.join(Outcome)}.",
}

Commit = Annotated[str, StringConstraints(pattern=COMMIT)]


def _refuse_seed(_given: Any) -> None:
    raise ValueError(
        "Kedge builds commits as they are in the repository and lays no other files beside them: commit what "
        "it would have brought, and build that branch or commit"
    )


class ManualBuild(bodies.Strict):
    """What to build: a branch's newest commit, or one commit."""

    branch: BranchName | None = None
    commit_hash: Commit | None = None
    #: of Workers Builds' API; refused by name rather than as a field that nobody knows
    seed_repo: Annotated[SkipJsonSchema[Any], BeforeValidator(_refuse_seed)] = None

    @model_validator(mode="after")
    def _something(self) -> ManualBuild:
        if self.branch is None and self.commit_hash is None:
            raise ValueError("say what to build: a branch or a commit_hash")
        return self


@answers(BuildShape)
async def get(request: Request) -> Response:
    """One build."""
    return ok(await show_build(request, request.path_params["build_uuid"]))


@answers(list[BuildShape], query=FILTERS, paged=True)
async def list_all(request: Request) -> Response:
    """Builds of the account, newest first; `?worker=`, `?branch=`, `?status=` and `?outcome=` narrow them."""
    wanted = BuildFilter(
        worker=request.query_params.get("worker"),
        branch=request.query_params.get("branch"),
        status=_one_of(Status, request, "status"),
        outcome=_one_of(Outcome, request, "outcome"),
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


@answers(BuildShape)
async def build_now(request: Request) -> Response:
    """Queue a build of a branch or a commit, whatever the trigger's rules say."""
    body = await bodies.read(request, ManualBuild)
    build_uuid = await bodies.services(request).intake.build_now(
        request.state.account_id,
        request.path_params["uuid"],
        branch=body.branch,
        commit_hash=body.commit_hash,
    )
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
            "reason": wait_reason(one.wait_reason, place),
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


def _one_of(words: type[Status | Outcome], request: Request, name: str) -> str | None:
    given = request.query_params.get(name)
    if given is not None and given not in set(words):
        raise InvalidInput(f"{name} must be one of {', '.join(words)}")
    return given


def _ids(request: Request, name: str) -> list[str]:
    ids = [one for one in request.query_params.get(name, "").split(",") if one]
    if not 1 <= len(ids) <= MOST_IDS:
        raise InvalidInput(f"{name} must be 1 to {MOST_IDS} ids between commas")
    return ids


routes = [
    Route("/builds", list_all, methods=["GET"]),
    Route("/builds/queue", show_queue, methods=["GET"]),
    Route("/builds/account/limits", limits, methods=["GET"]),
    Route("/builds/builds", of_versions, methods=["GET"]),
    Route("/builds/builds/latest", latest, methods=["GET"]),
    Route("/builds/builds/{build_uuid}", get, methods=["GET"]),
    Route("/builds/builds/{build_uuid}/cancel", cancel, methods=["PUT"]),
    Route("/builds/builds/{build_uuid}/retry", retry, methods=["PUT"]),
    Route("/builds/triggers/{uuid}/builds", build_now, methods=["POST"]),
    Route("/builds/workers/{worker}/builds", list_of_worker, methods=["GET"]),
]
