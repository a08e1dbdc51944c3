"""Build tokens: credentials that builds deploy with elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from pydantic import StringConstraints
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.tokens import BuildTokenShape
from kedge.db.clock import now_ms
from kedge.db.queries import tokens as queries
from kedge.db.tables import BuildToken

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Label = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class NewBuildToken(bodies.Strict):
    """A token to be kept."""

    build_token_name: Label
    build_token_secret: Annotated[str, StringConstraints(min_length=1, max_length=5120)]
    cloudflare_token_id: Annotated[str, StringConstraints(max_length=255)] = ""


@answers(list[BuildTokenShape])
async def list_tokens(request: Request) -> Response:
    """The account's build tokens, without their secrets."""
    found = await bodies.services(request).db.read(queries.build_tokens, request.state.account_id)
    return ok([_describe(token) for token in found])


@answers(BuildTokenShape)
async def create(request: Request) -> Response:
    """Keep a token, encrypted."""
    body = await bodies.read(request, NewBuildToken)
    services = bodies.services(request)
    secret = await asyncio.to_thread(services.secrets.encrypt, body.build_token_secret)
    token = BuildToken(
        uuid=str(uuid4()),
        account_id=request.state.account_id,
        name=body.build_token_name,
        cloudflare_token_id=body.cloudflare_token_id,
        secret=secret,
        created_on=now_ms(),
    )
    await services.db.write(queries.add, token)
    return ok(_describe(token))


@answers(None)
async def delete(request: Request) -> Response:
    """Forget a token."""
    services = bodies.services(request)
    account_id, uuid = request.state.account_id, request.path_params["uuid"]
    await services.db.write(queries.delete_build_token, account_id, uuid)
    return ok(None)


def _describe(token: BuildToken) -> BuildTokenShape:
    return {
        "build_token_uuid": token.uuid,
        "build_token_name": token.name,
        "cloudflare_token_id": token.cloudflare_token_id,
        "owner_type": token.owner_type,
    }


routes = [
    Route("/builds/tokens", list_tokens, methods=["GET"]),
    Route("/builds/tokens", create, methods=["POST"]),
    Route("/builds/tokens/{uuid}", delete, methods=["DELETE"]),
]
