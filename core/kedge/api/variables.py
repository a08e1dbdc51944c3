"""Build variables of a trigger. A secret goes in and never comes out."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, RootModel, StringConstraints, Tag, model_validator
from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.variables import VariableShape
from kedge.config.wording import VARIABLE
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import triggers as queries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.db.tables import TriggerVariable
    from kedge.secrets import SecretBox

#: 5 KB, as elsewhere
MOST_BYTES = 5120

Key = Annotated[str, StringConstraints(pattern=VARIABLE)]


def _value(text: str) -> str:
    if "\0" in text or len(text.encode()) > MOST_BYTES:
        raise ValueError(f"a value has at most {MOST_BYTES} bytes and no NUL character")
    return text


def _not_empty(secret: str) -> str:
    if not secret:
        raise ValueError("a secret must not be empty; to do without it, remove it")
    return secret


Value = Annotated[str, AfterValidator(_value)]
SecretValue = Annotated[Value, AfterValidator(_not_empty)]


class VariableBody(bodies.Strict):
    """A variable to be set."""

    is_secret: bool = False
    value: Value

    @model_validator(mode="after")
    def _something(self) -> VariableBody:
        if self.is_secret:
            _not_empty(self.value)
        return self


class NamedVariable(bodies.Strict):
    """A variable to be set, in the other documented shape."""

    key: Key
    value: Value
    type: Literal["text", "secret"] = "text"

    @model_validator(mode="after")
    def _something(self) -> NamedVariable:
        if self.type == "secret":
            _not_empty(self.value)
        return self


class VariableList(bodies.Strict):
    """Variables in the other documented shape."""

    variables: list[NamedVariable]


def _shape(body: Any) -> str:
    listed = isinstance(body, dict) and isinstance(body.get("variables"), list)
    return "list" if listed or isinstance(body, VariableList) else "table"


class Variables(
    RootModel[
        Annotated[
            Annotated[VariableList, Tag("list")] | Annotated[dict[Key, VariableBody], Tag("table")],
            Discriminator(_shape),
        ]
    ]
):
    """Variables by their names, or as a list."""

    def by_key(self) -> dict[str, VariableBody]:
        """By their names, whichever shape they came in."""
        if isinstance(self.root, dict):
            return self.root
        return {
            one.key: VariableBody(is_secret=one.type == "secret", value=one.value)
            for one in self.root.variables
        }


class Candidates(RootModel[dict[Key, Value]]):
    """Values of secrets that may be the ones stored."""


@answers(dict[str, VariableShape])
async def get(request: Request) -> Response:
    """The variables of a trigger; the value of a secret is null."""
    rows = await bodies.services(request).db.read(queries.variables, *_trigger(request))
    return ok(await asyncio.to_thread(_describe, bodies.services(request).secrets, rows))


@answers(dict[str, VariableShape])
async def change(request: Request) -> Response:
    """Set variables; those not named stay."""
    given = (await bodies.read(request, Variables)).by_key()
    services = bodies.services(request)
    values = await asyncio.to_thread(_encrypt, services.secrets, given)
    rows = await services.db.write(queries.set_variables, *_trigger(request), values, now_ms())
    return ok(await asyncio.to_thread(_describe, services.secrets, rows))


@answers(None)
async def delete(request: Request) -> Response:
    """Remove a variable."""
    services = bodies.services(request)
    await services.db.write(queries.delete_variable, *_trigger(request), request.path_params["key"])
    return ok(None)


@answers(dict[str, bool])
async def compare(request: Request) -> Response:
    """Which of the given values are those of the trigger's secrets; for tools that must not set them anew."""
    candidates = (await bodies.read(request, Candidates)).root
    services = bodies.services(request)
    stored = await services.db.read(queries.variables, *_trigger(request))
    return ok(await asyncio.to_thread(_compare, services.secrets, stored, candidates))


def _trigger(request: Request) -> tuple[str, str]:
    return request.state.account_id, request.path_params["uuid"]


# These run in a thread: a cipher takes its time, the first use of one most of all.


def _encrypt(secrets: SecretBox, given: dict[str, VariableBody]) -> dict[str, tuple[bool, bytes]]:
    return {key: (one.is_secret, secrets.encrypt(one.value)) for key, one in given.items()}


def _describe(secrets: SecretBox, rows: list[TriggerVariable]) -> dict[str, VariableShape]:
    return {
        row.key: {
            "is_secret": row.is_secret,
            "value": None if row.is_secret else secrets.decrypt(row.value),
            "created_on": to_iso(row.created_on),
        }
        for row in rows
    }


def _compare(
    secrets: SecretBox, stored: list[TriggerVariable], candidates: dict[str, str]
) -> dict[str, bool]:
    known = {row.key: secrets.decrypt(row.value).encode() for row in stored if row.key in candidates}
    return {
        key: key in known and hmac.compare_digest(known[key], value.encode())
        for key, value in candidates.items()
    }


VARIABLES = "/builds/triggers/{uuid}/environment_variables"

routes = [
    Route(VARIABLES, get, methods=["GET"]),
    Route(VARIABLES, change, methods=["PATCH"]),
    Route(f"{VARIABLES}/compare", compare, methods=["POST"]),
    Route(f"{VARIABLES}/{{key}}", delete, methods=["DELETE"]),
]
