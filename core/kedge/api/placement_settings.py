"""Where a worker shall run: what its author said, how that stands, and how to change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.placement import PlacementShape, ProvidersShape, SettingsShape
from kedge.api.shapes.workers import ScriptShape, ServiceShape
from kedge.api.versions import SCRIPT, WORKER, outcome, urls
from kedge.api.workers import describe_script
from kedge.db.clock import to_iso
from kedge.workers.places.placing import status_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.workers.placed import Placed


class SettingsChange(bodies.Strict):
    """What shall be otherwise; what is not named stays."""

    placement: dict[str, Any] | None = Field(default=None, max_length=8)


@answers(SettingsShape)
async def settings(request: Request) -> Response:
    """The settings of a worker's production version."""
    shown: SettingsShape = {"placement": await _placement(request, await _find(request))}
    return ok(shown)


@answers(SettingsShape)
async def change(request: Request) -> Response:
    """Change settings: a new version of the same files is deployed, unless all is so already.

    The body is JSON, or a form: with JSON in its part `settings`, or with fields `settings[placement][mode]`.
    The answer tells of the version that serves: until the new one has started, that is the old one.
    """
    body = await bodies.read(request, SettingsChange, part="settings")
    if body.placement is not None:
        deployment = await services(request).placement_settings.change(
            request.state.principal, request.path_params["worker"], body.placement, urls(request)
        )
        await outcome(request, deployment)
    shown: SettingsShape = {"placement": await _placement(request, await _find(request))}
    return ok(shown)


@answers(ServiceShape)
async def service(request: Request) -> Response:
    """What tools look up: the tag behind a name, and how its placement stands."""
    placed = await _find(request)
    placement = await _placement(request, placed)
    script = cast("ScriptShape", {**describe_script(placed.worker), "placement": placement})
    if "mode" in placement:
        script["placement_mode"] = placement["mode"]
    if "status" in placement:
        script["placement_status"] = placement["status"]
    found: ServiceShape = {
        "id": placed.worker.name,
        "default_environment": {"environment": "production", "script": script},
    }
    return ok(found)


@answers(ProvidersShape)
async def regions(request: Request) -> Response:
    """The regions that `placement.region` can name: those that a node which is there now lies in."""
    providers: dict[str, list[Any]] = {}
    for name, locations in services(request).places.placing.regions.items():
        provider, colon, region = name.partition(":")
        if colon:
            providers.setdefault(provider, []).append({"id": region, "locations": locations})
    shown: ProvidersShape = {"providers": [{"id": name, "regions": of} for name, of in providers.items()]}
    return ok(shown)


async def _find(request: Request) -> Placed:
    path = request.path_params
    return await services(request).placement_settings.find(request.state.account_id, path["worker"])


async def _placement(request: Request, placed: Placed) -> PlacementShape:
    """The author's words, and the status of what Kedge decides by itself."""
    shown = cast("PlacementShape", dict(placed.wish))
    if placed.wish.get("mode") == "smart":
        routes = await services(request).places.memory.explain(placed.worker.id)
        status = status_of(one["status"] for one in routes)
        if status is not None:
            shown["status"] = status.value
        analyzed = to_iso(services(request).places.placing.analyzed_on)
        if routes and analyzed is not None:
            shown["last_analyzed_at"] = analyzed
    return shown


routes = [
    Route("/workers/placement/regions", regions, methods=["GET"]),
    Route("/workers/services/{worker}", service, methods=["GET"]),
    *(
        route
        for prefix in (WORKER, SCRIPT)
        for route in (
            Route(f"{prefix}/settings", settings, methods=["GET"]),
            Route(f"{prefix}/settings", change, methods=["PATCH"]),
        )
    ),
]
