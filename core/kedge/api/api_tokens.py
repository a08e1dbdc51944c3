"""API tokens of the account: shown once, when they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from pydantic import StringConstraints
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.tokens import ApiTokenShape, NewApiTokenShape
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import tokens as queries
from kedge.db.tables import ApiToken
from kedge.tokens import hash_token, new_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class NewApiToken(bodies.Strict):
    """A token to be made."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    can_write: bool = True


@answers(list[ApiTokenShape])
async def list_tokens(request: Request) -> Response:
    """The account's tokens, by name only."""
    found = await bodies.services(request).db.read(queries.api_tokens, request.state.account_id)
    return ok([_describe(token) for token in found])


@answers(NewApiTokenShape)
async def create(request: Request) -> Response:
    """Make a token. Its value is in this answer and nowhere else."""
    body = await bodies.read(request, NewApiToken)
    value = new_token("api")
    token = ApiToken(
        id=str(uuid4()),
        account_id=request.state.account_id,
        name=body.name,
        token_hash=hash_token(value),
        can_write=body.can_write,
        created_on=now_ms(),
    )
    await bodies.services(request).db.write(queries.add, token)
    made: NewApiTokenShape = {**_describe(token), "value": value}
    return ok(made)


@answers(None)
async def revoke(request: Request) -> Response:
    """Make a token good for nothing."""
    services = bodies.services(request)
    token_id = request.path_params["id"]
    await services.db.write(queries.revoke_api_token, request.state.account_id, token_id, now_ms())
    services.access.forget()
    return ok(None)


def _describe(token: ApiToken) -> ApiTokenShape:
    return {
        "id": token.id,
        "name": token.name,
        "can_write": token.can_write,
        "created_on": to_iso(token.created_on),
        "revoked_on": to_iso(token.revoked_on),
    }


routes = [
    Route("/tokens", list_tokens, methods=["GET"]),
    Route("/tokens", create, methods=["POST"]),
    Route("/tokens/{id}", revoke, methods=["DELETE"]),
]
