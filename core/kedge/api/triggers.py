"""Triggers: which pushes build a worker, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from pydantic import Field, StringConstraints
from starlette.routing import Route

from kedge.api import bodies, repos
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.rules import (  # noqa: TC001  (pydantic reads them when it runs)
    BranchRules,
    Command,
    Folder,
    PathRules,
    SomeBranchRules,
)
from kedge.api.shapes.caches import CacheDeclaration
from kedge.api.shapes.triggers import TriggerShape
from kedge.config.caches import Caches  # noqa: TC001  (as pydantic)
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import triggers as queries
from kedge.db.tables import Trigger

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.tables import RepoConnection

Label = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class NewTrigger(bodies.Strict):
    """A trigger to be made."""

    external_script_id: str
    repo_connection_uuid: str
    build_token_uuid: str | None = None
    trigger_name: Label
    build_command: Command = ""
    deploy_command: Command = ""
    root_directory: Folder = "/"
    branch_includes: SomeBranchRules
    branch_excludes: BranchRules = Field(default_factory=list)
    path_includes: PathRules = Field(default_factory=lambda: ["*"])
    path_excludes: PathRules = Field(default_factory=list)
    build_caching_enabled: bool = False
    build_caches: Caches = ()


class TriggerChange(bodies.Strict):
    """What can be changed about a trigger; what is left out stays."""

    build_token_uuid: str | None = None
    repo_connection_uuid: str | None = None
    trigger_name: Label | None = None
    build_command: Command | None = None
    deploy_command: Command | None = None
    root_directory: Folder | None = None
    branch_includes: SomeBranchRules | None = None
    branch_excludes: BranchRules | None = None
    path_includes: PathRules | None = None
    path_excludes: PathRules | None = None
    build_caching_enabled: bool | None = None
    build_caches: Caches | None = None


@answers(list[TriggerShape])
async def list_triggers(request: Request) -> Response:
    """The triggers of a worker, oldest first."""
    found = await bodies.services(request).db.read(
        queries.triggers_of_worker, request.state.account_id, request.path_params["worker"]
    )
    return ok([describe(trigger, connection) for trigger, connection in found])


@answers(TriggerShape)
async def create(request: Request) -> Response:
    """Make a trigger."""
    body = await bodies.read(request, NewTrigger)
    now = now_ms()
    values = body.model_dump(mode="json", exclude={"external_script_id", "trigger_name"})
    trigger = Trigger(
        uuid=str(uuid4()),
        account_id=request.state.account_id,
        worker_id=body.external_script_id,
        name=body.trigger_name,
        created_on=now,
        modified_on=now,
        **values,
    )
    connection = await bodies.services(request).db.write(queries.add_trigger, trigger)
    return ok(describe(trigger, connection))


@answers(TriggerShape)
async def change(request: Request) -> Response:
    """Change a trigger; the next build uses it as it is then."""
    body = await bodies.read(request, TriggerChange)
    values = body.model_dump(mode="json", exclude_unset=True)
    if "trigger_name" in values:
        values["name"] = values.pop("trigger_name")
    trigger, connection = await bodies.services(request).db.write(
        queries.change_trigger,
        request.state.account_id,
        request.path_params["uuid"],
        {name: value for name, value in values.items() if value is not None or name == "build_token_uuid"},
        now_ms(),
    )
    return ok(describe(trigger, connection))


@answers(None)
async def delete(request: Request) -> Response:
    """Remove a trigger and cancel its unfinished builds."""
    services = bodies.services(request)
    account_id, uuid = request.state.account_id, request.path_params["uuid"]
    await services.db.write(queries.delete_trigger, account_id, uuid, now_ms())
    await services.control.cancel_trigger(account_id, uuid)
    return ok(None)


@answers(None)
async def purge_cache(request: Request) -> Response:
    """Forget all that the builds of this trigger's worker have cached; its triggers share it."""
    services = bodies.services(request)
    account_id = request.state.account_id
    trigger = await services.db.read(queries.trigger, account_id, request.path_params["uuid"])
    await services.caches.purge(account_id, trigger.worker_id)
    return ok(None)


def describe(trigger: Trigger, connection: RepoConnection | None) -> TriggerShape:
    """A trigger as the API shows it."""
    return {
        "trigger_uuid": trigger.uuid,
        "external_script_id": trigger.worker_id,
        "trigger_name": trigger.name,
        "build_command": trigger.build_command,
        "deploy_command": trigger.deploy_command,
        "root_directory": trigger.root_directory,
        "branch_includes": trigger.branch_includes,
        "branch_excludes": trigger.branch_excludes,
        "path_includes": trigger.path_includes,
        "path_excludes": trigger.path_excludes,
        "build_caching_enabled": trigger.build_caching_enabled,
        "build_caches": [CacheDeclaration(**cache) for cache in trigger.build_caches],  # type: ignore[typeddict-item]
        "build_token_uuid": trigger.build_token_uuid,
        "created_on": to_iso(trigger.created_on),
        "modified_on": to_iso(trigger.modified_on),
        "deleted_on": to_iso(trigger.deleted_on),
        "repo_connection": None if connection is None else repos.describe(connection),
    }


routes = [
    Route("/builds/workers/{worker}/triggers", list_triggers, methods=["GET"]),
    Route("/builds/triggers", create, methods=["POST"]),
    Route("/builds/triggers/{uuid}", change, methods=["PATCH"]),
    Route("/builds/triggers/{uuid}", delete, methods=["DELETE"]),
    Route("/builds/triggers/{uuid}/purge_build_cache", purge_cache, methods=["POST"]),
]
