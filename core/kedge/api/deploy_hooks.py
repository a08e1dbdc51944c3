"""Deploy hooks: addresses that start a build of a branch for whoever knows them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from pydantic import StringConstraints
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.rules import BranchName  # noqa: TC001  (pydantic reads it when it runs)
from kedge.api.shapes.triggers import AskedShape, DeployHookShape, ListedHookShape
from kedge.config.wording import NO_CONTROLS
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import deploy_hooks as queries
from kedge.db.tables import DeployHook
from kedge.tokens import hash_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: without an account and without a token: the UUID is the secret
CALL = "/client/v4/workers/builds/deploy_hooks/{uuid}"

HookName = Annotated[str, StringConstraints(min_length=1, max_length=58, pattern=NO_CONTROLS)]


class HookBody(bodies.Strict):
    """A hook to be made, or what becomes of one."""

    deploy_hook_name: HookName
    branch: BranchName


@answers(list[ListedHookShape])
async def list_hooks(request: Request) -> Response:
    """The hooks of a worker, oldest first. A token that may only read sees no UUIDs: they start builds."""
    services = bodies.services(request)
    found = await services.db.read(
        queries.hooks_of_worker, request.state.account_id, request.path_params["worker"]
    )
    uuids: list[str | None] = [None] * len(found)
    if request.state.principal.can_write:
        uuids = await asyncio.to_thread(
            lambda: [services.secrets.decrypt(hook.uuid_encrypted) for hook in found]
        )
    listed: list[ListedHookShape] = [
        {
            **_describe(request, hook, uuid),
            "latest_build": {"created_on": to_iso(hook.latest_build_on)} if hook.latest_build_on else None,
        }
        for hook, uuid in zip(found, uuids, strict=True)
    ]
    return ok(listed)


@answers(DeployHookShape)
async def create(request: Request) -> Response:
    """Make a hook. 409 if the worker has one of that name."""
    body = await bodies.read(request, HookBody)
    services = bodies.services(request)
    uuid, now = str(uuid4()), now_ms()
    hook = DeployHook(
        uuid_hash=hash_token(uuid),
        uuid_encrypted=await asyncio.to_thread(services.secrets.encrypt, uuid),
        account_id=request.state.account_id,
        worker_id=request.path_params["worker"],
        name=body.deploy_hook_name,
        branch=body.branch,
        created_on=now,
        modified_on=now,
    )
    return ok(_describe(request, await services.db.write(queries.add_hook, hook), uuid))


@answers(DeployHookShape)
async def get(request: Request) -> Response:
    """One hook."""
    hook = await bodies.services(request).db.read(queries.hook_of_worker, *_named(request))
    return ok(_describe(request, hook, request.path_params["uuid"]))


@answers(DeployHookShape)
async def change(request: Request) -> Response:
    """Give a hook another name and branch; its address stays."""
    body = await bodies.read(request, HookBody)
    hook = await bodies.services(request).db.write(
        queries.change_hook,
        *_named(request),
        name=body.deploy_hook_name,
        branch=body.branch,
        now=now_ms(),
    )
    return ok(_describe(request, hook, request.path_params["uuid"]))


@answers(DeployHookShape)
async def delete(request: Request) -> Response:
    """Remove a hook: its address starts no more builds."""
    hook = await bodies.services(request).db.write(queries.delete_hook, *_named(request))
    return ok(_describe(request, hook, request.path_params["uuid"]))


@answers(AskedShape, nameless=True)
async def call(request: Request) -> Response:
    """Start a build of the hook's branch, or tell which one waits already. No token; 429 if too often."""
    asked = await bodies.services(request).deploy_hooks.call(request.path_params["uuid"])
    shown: AskedShape = {
        "build_uuid": asked.build_uuid,
        "status": asked.status,
        "created_on": to_iso(asked.created_on),
        "already_exists": asked.already_exists,
    }
    return ok(shown)


def _named(request: Request) -> tuple[str, str, str]:
    path = request.path_params
    return request.state.account_id, path["worker"], hash_token(path["uuid"])


def _describe(request: Request, hook: DeployHook, uuid: str | None) -> DeployHookShape:
    shown: DeployHookShape = {
        "deploy_hook_name": hook.name,
        "branch": hook.branch,
        "external_script_id": hook.worker_id,
        "created_on": to_iso(hook.created_on),
        "modified_on": to_iso(hook.modified_on),
    }
    if uuid is not None:
        shown["deploy_hook_uuid"] = uuid
        shown["kedge"] = {"url": bodies.services(request).public_url + CALL.format(uuid=uuid)}
    return shown


HOOKS = "/builds/workers/{worker}/deploy_hooks"

routes = [
    Route(HOOKS, list_hooks, methods=["GET"]),
    Route(HOOKS, create, methods=["POST"]),
    Route(f"{HOOKS}/{{uuid}}", get, methods=["GET"]),
    Route(f"{HOOKS}/{{uuid}}", change, methods=["PUT"]),
    Route(f"{HOOKS}/{{uuid}}", delete, methods=["DELETE"]),
]

nameless_routes = [Route(CALL, call, methods=["POST"])]
