"""Build variables of a trigger. A secret goes in and never comes out."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import RootModel, StringConstraints, ValidationError
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import triggers as queries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.tables import TriggerVariable

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
#: 5 KB, as elsewhere
Value = Annotated[str, StringConstraints(max_length=5120, pattern=r"^[^\x00]*$")]


class VariableBody(bodies.Strict):
    """A variable to be set."""

    is_secret: bool = False
    value: Value


class Variables(RootModel[dict[Key, VariableBody]]):
    """Variables by their names."""


class NamedVariable(bodies.Strict):
    """A variable to be set, in the other documented shape."""

    key: Key
    value: Value
    type: Literal["text", "secret"] = "text"


class VariableList(bodies.Strict):
    """Variables in the other documented shape."""

    variables: list[NamedVariable]


class Candidates(RootModel[dict[Key, Value]]):
    """Values of secrets that may be the ones stored."""


async def get(request: Request) -> Response:
    """The variables of a trigger; the value of a secret is null."""
    services = bodies.services(request)
    return ok(_describe_all(request, await services.db.read(queries.variables, *_trigger(request))))


async def change(request: Request) -> Response:
    """Set variables; those not named stay."""
    given = _read_either(await bodies.read_bytes(request))
    services = bodies.services(request)
    values = {key: (one.is_secret, services.secrets.encrypt(one.value)) for key, one in given.items()}
    await services.db.write(queries.set_variables, *_trigger(request), values, now_ms())
    return ok(_describe_all(request, await services.db.read(queries.variables, *_trigger(request))))


async def delete(request: Request) -> Response:
    """Remove a variable."""
    services = bodies.services(request)
    await services.db.write(queries.delete_variable, *_trigger(request), request.path_params["key"])
    return ok(None)


async def compare(request: Request) -> Response:
    """Which of the given values are those of the trigger's secrets; for tools that must not set them anew."""
    candidates = (await bodies.read(request, Candidates)).root
    services = bodies.services(request)
    stored = await services.db.read(queries.variables, *_trigger(request))
    known = {row.key: services.secrets.decrypt(row.value) for row in stored if row.key in candidates}
    return ok(
        {
            key: key in known and hmac.compare_digest(known[key].encode(), value.encode())
            for key, value in candidates.items()
        }
    )


def _read_either(data: bytes) -> dict[str, VariableBody]:
    try:
        return Variables.model_validate_json(data).root
    except ValidationError as error:
        if b'"variables"' not in data:
            raise
        try:
            listed = VariableList.model_validate_json(data).variables
        except ValidationError:
            raise error from None
        return {one.key: VariableBody(is_secret=one.type == "secret", value=one.value) for one in listed}


def _trigger(request: Request) -> tuple[str, str]:
    return request.state.account_id, request.path_params["uuid"]


def _describe_all(request: Request, rows: list[TriggerVariable]) -> dict[str, Any]:
    secrets = bodies.services(request).secrets
    return {
        row.key: {
            "is_secret": row.is_secret,
            "value": None if row.is_secret else secrets.decrypt(row.value),
            "created_on": to_iso(row.created_on),
        }
        for row in rows
    }


VARIABLES = "/builds/triggers/{uuid}/environment_variables"

routes = [
    Route(VARIABLES, get, methods=["GET"]),
    Route(VARIABLES, change, methods=["PATCH"]),
    Route(f"{VARIABLES}/compare", compare, methods=["POST"]),
    Route(f"{VARIABLES}/{{key}}", delete, methods=["DELETE"]),
]
