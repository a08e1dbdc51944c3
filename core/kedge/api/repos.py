"""Repo connections: which repositories an account builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from pydantic import StringConstraints
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.rules import branch_name, folder_path
from kedge.api.shapes.repos import AutofillShape, ConnectedShape, ConnectionShape
from kedge.builds.autofill import autofill
from kedge.config.wording import NO_CONTROLS
from kedge.contracts.forge import Repo
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import repos as queries
from kedge.db.tables import RepoConnection
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: an owner may have slashes in it: a group within a group
AUTOFILL = "/builds/repos/{provider}/{provider_account:path}/{repo}/config_autofill"

Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NO_CONTROLS)]


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


@answers(
    AutofillShape,
    query={
        "branch": "The branch to look at.",
        "root_directory": "The project's folder; `/` if not given.",
    },
    required=frozenset({"branch"}),
)
async def config_autofill(request: Request) -> Response:
    """What a connected repository tells of how to build it: package manager, scripts, worker's name."""
    path, services = request.path_params, bodies.services(request)
    connection = await services.db.read(
        queries.find_connection,
        request.state.account_id,
        provider=path["provider"],
        owner=path["provider_account"],
        repo=path["repo"],
    )
    branch, folder = _where(request)
    repo = Repo(forge=connection.provider_type, owner=connection.provider_account_id, name=connection.repo_id)
    found = await autofill(services.forges[repo.forge], repo, branch, folder)
    shown: AutofillShape = {
        "config_file": found.config_file,
        "default_worker_name": found.default_worker_name,
        "env_worker_names": found.env_worker_names,
        "package_manager": found.package_manager,
        "scripts": found.scripts,
        "kedge": {"unreadable": found.unreadable},
    }
    return ok(shown)


def _where(request: Request) -> tuple[str, str]:
    if "branch" not in request.query_params:
        raise InvalidInput("say which branch to look at: ?branch=main")
    try:
        branch = branch_name(request.query_params["branch"])
        folder = folder_path(request.query_params.get("root_directory", "/"))
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    return branch, folder.strip("/")


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
    Route(AUTOFILL, config_autofill, methods=["GET"]),
]
