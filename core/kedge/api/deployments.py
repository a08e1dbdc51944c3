"""Deployments of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes import DeploymentShape, DeploymentsShape
from kedge.api.versions import SCRIPT, WORKER, Line, urls
from kedge.db.clock import to_iso
from kedge.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.tables import Deployment


class Share(bodies.Strict):
    """How much of the traffic a version gets."""

    version_id: str = Field(max_length=64)
    percentage: float


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


@answers(DeploymentShape)
async def get_deployment(request: Request) -> Response:
    """One of the most recent deployments."""
    path = request.path_params
    for deployment in await services(request).deployments.list(request.state.account_id, path["worker"]):
        if deployment.uuid == path["deployment_id"]:
            return ok(describe(deployment))
    raise NotFound(f"there is no recent deployment {path['deployment_id'][:80]!r}")


@answers(DeploymentShape)
async def create(request: Request) -> Response:
    """Let a version serve all traffic."""
    body = await bodies.read(request, DeploymentBody)
    if len(body.versions) != 1 or body.versions[0].percentage != 100:
        raise InvalidInput("traffic is not split yet: name one version and give it 100 percent")
    deployment = await services(request).deployments.deploy(
        request.state.principal,
        request.path_params["worker"],
        body.versions[0].version_id,
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
