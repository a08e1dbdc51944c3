"""Secrets of a worker: given to the instances of versions that are uploaded from then on. None comes out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from starlette.routing import Route

from kedge.api import bodies
from kedge.api.bodies import services
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.run_body import InstanceVariable  # noqa: TC001  (pydantic reads it)
from kedge.api.shapes.workers import WorkerSecretShape
from kedge.api.variables import SecretValue  # noqa: TC001  (pydantic reads it)
from kedge.api.versions import SCRIPT, WORKER
from kedge.db.clock import now_ms
from kedge.db.queries import secrets as queries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class SecretBody(bodies.Strict):
    """A secret to be set."""

    name: InstanceVariable
    text: SecretValue
    type: Literal["secret_text"] = "secret_text"


@answers(list[WorkerSecretShape])
async def list_secrets(request: Request) -> Response:
    """Their names."""
    found = await services(request).db.read(
        queries.of_worker, request.state.account_id, request.path_params["worker"]
    )
    return ok([_describe(secret.name) for secret in found])


@answers(WorkerSecretShape)
async def put_secret(request: Request) -> Response:
    """Set one."""
    body = await bodies.read(request, SecretBody)
    value = await asyncio.to_thread(services(request).secrets.encrypt, body.text)
    await services(request).db.write(
        queries.put,
        request.state.account_id,
        request.path_params["worker"],
        body.name,
        value=value.decode("ascii"),
        now=now_ms(),
    )
    return ok(_describe(body.name))


@answers(None)
async def delete_secret(request: Request) -> Response:
    """Forget one. Versions that have it keep it."""
    path = request.path_params
    await services(request).db.write(queries.remove, request.state.account_id, path["worker"], path["key"])
    return ok(None)


def _describe(name: str) -> WorkerSecretShape:
    return {"name": name, "type": "secret_text"}


routes = [
    route
    for prefix in (WORKER, SCRIPT)
    for route in (
        Route(f"{prefix}/secrets", list_secrets, methods=["GET"]),
        Route(f"{prefix}/secrets", put_secret, methods=["PUT"]),
        Route(f"{prefix}/secrets/{{key}}", delete_secret, methods=["DELETE"]),
    )
]
