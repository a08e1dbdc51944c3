"""Repo connections: which repositories an account builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from pydantic import StringConstraints
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes import ConnectedShape, ConnectionShape
from kedge.contracts.forge import Repo
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import repos as queries
from kedge.db.tables import RepoConnection
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]+$")]


class NewConnection(bodies.Strict):
    """A repository to be connected. Its owner is the account, if nobody else is named."""

    provider_type: Name
    provider_account_id: Name | None = None
    provider_account_name: Name | None = None
    repo_id: Name
    repo_name: Name | None = None


@answers(ConnectedShape)
async def connect(request: Request) -> Response:
    """Connect a repository; one that is connected already stays as it is. A hosted one is made."""
    body = await bodies.read(request, NewConnection)
    services = bodies.services(request)
    forge = services.forges.get(body.provider_type)
    if forge is None:
        known = ", ".join(sorted(services.forges))
        raise InvalidInput(f"provider_type: there is no forge {body.provider_type!r}; there is: {known}")
    owner = body.provider_account_id or request.state.principal.account_name
    if forge.hosts_repos:
        owner = _own_name(request, owner)
    repo = Repo(forge=body.provider_type, owner=owner, name=body.repo_id)
    url = await forge.ensure_repo(repo)
    now = now_ms()
    connection = RepoConnection(
        uuid=str(uuid4()),
        account_id=request.state.account_id,
        provider_type=body.provider_type,
        provider_account_id=owner,
        provider_account_name=owner if forge.hosts_repos else body.provider_account_name or owner,
        repo_id=body.repo_id,
        repo_name=body.repo_name or body.repo_id,
        created_on=now,
        modified_on=now,
    )
    stored = await services.db.write(queries.upsert_connection, connection)
    connected: ConnectedShape = {**describe(stored), "kedge": {"url": url}}
    return ok(connected)


@answers(None)
async def disconnect(request: Request) -> Response:
    """Disconnect a repository: builds stop coming, what is deployed goes on."""
    uuid = request.path_params["uuid"]
    services = bodies.services(request)
    await services.db.write(queries.delete_connection, request.state.account_id, uuid, now_ms())
    return ok(None)


def _own_name(request: Request, owner: str) -> str:
    """Hosted repositories lie under the name of the account and under no other."""
    principal = request.state.principal
    if owner not in {principal.account_id, principal.account_name}:
        raise InvalidInput(f"provider_account_id: hosted repositories belong to {principal.account_name}")
    name: str = principal.account_name
    return name


def describe(connection: RepoConnection) -> ConnectionShape:
    """A connection as the API shows it."""
    return {
        "repo_connection_uuid": connection.uuid,
        "repo_id": connection.repo_id,
        "repo_name": connection.repo_name,
        "provider_type": connection.provider_type,
        "provider_account_id": connection.provider_account_id,
        "provider_account_name": connection.provider_account_name,
        "created_on": to_iso(connection.created_on),
        "modified_on": to_iso(connection.modified_on),
        "deleted_on": to_iso(connection.deleted_on),
    }


routes = [
    Route("/builds/repos/connections", connect, methods=["PUT"]),
    Route("/builds/repos/connections/{uuid}", disconnect, methods=["DELETE"]),
]
