"""Deployments of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.deployments import DeploymentShape, DeploymentsShape, failure_shape
from kedge.api.versions import OUTCOME_SECONDS, SCRIPT, WORKER, Line, urls
from kedge.db.clock import to_iso
from kedge.errors import NotFound
from kedge.workers import deployments as shares

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.tables import Deployment


class Share(bodies.Strict):
    """How much of the traffic a version gets."""

    version_id: str = Field(max_length=64)
    percentage: float = Field(ge=0, le=100)


class DeploymentBody(bodies.Strict):
    """A version that shall serve."""

    strategy: Literal["percentage"] = "percentage"
    versions: Annotated[list[Share], Field(min_length=1, max_length=2)]
    annotations: dict[str, Line] = Field(default_factory=dict)


class RollbackBody(bodies.Strict):
    """Where to go back to; without it, to the version before."""

    version_id: str | None = Field(default=None, max_length=64)
    message: Line = ""


@answers(DeploymentsShape)
async def list_deployments(request: Request) -> Response:
    """The most recent deployments; the first one serves."""
    found = await services(request).deployments.list(request.state.account_id, request.path_params["worker"])
    return ok({"deployments": [describe(deployment) for deployment in found]})


@answers(DeploymentShape, query={"wait": "Answer once it waits for instances no more, or after a while."})
async def get_deployment(request: Request) -> Response:
    """One of the most recent deployments."""
    path = request.path_params
    running = services(request).running
    if "wait" in request.query_params and running is not None:
        await running.rollouts.outcome(path["deployment_id"], patience=OUTCOME_SECONDS)
    for deployment in await services(request).deployments.list(request.state.account_id, path["worker"]):
        if deployment.uuid == path["deployment_id"]:
            return ok(describe(deployment))
    raise NotFound(f"there is no recent deployment {path['deployment_id'][:80]!r}")


@answers(DeploymentShape)
async def create(request: Request) -> Response:
    """Let one or two versions serve, each its share of the traffic."""
    body = await bodies.read(request, DeploymentBody)
    deployment = await services(request).deployments.deploy(
        request.state.principal,
        request.path_params["worker"],
        [shares.Share(version_id=one.version_id, percentage=one.percentage) for one in body.versions],
        message=body.annotations.get("workers/message", ""),
        urls=urls(request),
    )
    return ok(describe(deployment))


@answers(DeploymentShape)
async def rollback(request: Request) -> Response:
    """Serve an earlier version again."""
    body = await bodies.read(request, RollbackBody)
    deployment = await services(request).deployments.rollback(
        request.state.principal,
        request.path_params["worker"],
        body.version_id,
        message=body.message,
        urls=urls(request),
    )
    return ok(describe(deployment))


def describe(deployment: Deployment) -> DeploymentShape:
    """A deployment as the REST API shows it."""
    annotations = {"workers/message": deployment.message} if deployment.message else {}
    if deployment.source == "rollback":
        annotations["workers/triggered_by"] = "rollback"
    shown: DeploymentShape = {
        "id": deployment.uuid,
        "created_on": to_iso(deployment.created_on),
        "source": deployment.source,
        "strategy": "percentage",
        "versions": [
            {"version_id": share["version_id"], "percentage": share["percentage"]}
            for share in deployment.versions
        ],
        "annotations": annotations,
        "kedge": {"state": deployment.state, "failure": failure_shape(deployment.failure)},
    }
    if deployment.author:
        shown["author_email"] = deployment.author
    return shown


routes = [
    Route(f"{WORKER}/rollback", rollback, methods=["POST"]),
    *(
        route
        for prefix in (WORKER, SCRIPT)
        for route in (
            Route(f"{prefix}/deployments", list_deployments, methods=["GET"]),
            Route(f"{prefix}/deployments", create, methods=["POST"]),
            Route(f"{prefix}/deployments/{{deployment_id}}", get_deployment, methods=["GET"]),
        )
    ),
]
