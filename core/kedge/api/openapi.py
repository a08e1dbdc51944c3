"""The API as an OpenAPI document, made from the routes, their bodies and their answers."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, TypeAdapter

from kedge.api.forms import FORM
from kedge.api.operations import Operation, operation_of
from kedge.errors import Conflict, Forbidden, InvalidInput, NotFound, RateLimited, TooLarge, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.routing import Route

Way = Literal["validation", "serialization"]

FORM_PART = re.compile(r'read\(request, \w+, part="(\w+)"')
PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
#: where an endpoint hands the type of its body to a reader
BODY = re.compile(r"read(?:_body)?\(request, (\w+)|(\w+)\.validate_json\(")
REFERENCE = "#/components/schemas/"
ENVELOPE = {
    "type": "object",
    "required": ["success", "errors", "messages", "result"],
    "properties": {
        "success": {"type": "boolean"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
            },
        },
        "messages": {"type": "array", "items": {}},
        "result": {},
    },
}
PAGE_NUMBERS = ("page", "per_page", "count", "total_count", "total_pages", "next_page")
PAGE_INFO = {
    "type": "object",
    "required": list(PAGE_NUMBERS),
    "properties": {name: {"type": "integer"} for name in PAGE_NUMBERS},
}
OPEN = frozenset({"/healthz", "/readyz", "/openapi.json"})
#: what any route that wants a token may answer instead
REFUSALS = (InvalidInput, Unauthorized, Forbidden, NotFound, Conflict, TooLarge, RateLimited)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method of one address."""

    path: str
    method: str
    endpoint: Any
    operation: Operation
    body: TypeAdapter[Any] | None

    @property
    def name(self) -> str:
        """Stable, and unique in the document."""
        address = PARAMETER.sub(r"\1", self.path).removeprefix("/client/v4/accounts/account")
        return re.sub(r"\W+", "_", f"{self.method}{address}").strip("_").lower()


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1; the same for the same code."""
    entries = list(_entries())
    types: list[tuple[str, Way, TypeAdapter[Any]]] = []
    for entry in entries:
        types.append((entry.name, "serialization", TypeAdapter(entry.operation.result)))
        if entry.body is not None:
            types.append((entry.name, "validation", entry.body))
    found, shared = TypeAdapter.json_schemas(types, ref_template=REFERENCE + "{model}")
    paths: dict[str, dict[str, Any]] = {}
    for entry in entries:
        body = found.get((entry.name, "validation"))
        described = _describe(entry, result=found[entry.name, "serialization"], body=body)
        paths.setdefault(PARAMETER.sub(r"{\1}", entry.path), {})[entry.method.lower()] = described
    schemas = {**shared.get("$defs", {}), "Envelope": ENVELOPE, "PageInfo": PAGE_INFO}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kedge",
            "version": "4",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _entries() -> Iterator[Entry]:
    from kedge.api import (  # noqa: PLC0415  (these import this module)
        app,
        deploy_hooks,
        health,
        runner,
        runner_cache_parts,
        runner_caches,
    )

    caches = (*runner_caches.routes, *runner_cache_parts.routes)
    parts = (health.routes, runner.routes, caches, deploy_hooks.nameless_routes)
    for prefix, routes in (*(("", routes) for routes in parts), (app.ACCOUNT, app.ACCOUNT_ROUTES)):
        for route in routes:
            yield from _entries_of(prefix, route)


def _entries_of(prefix: str, route: Route) -> Iterator[Entry]:
    for method in sorted((route.methods or set()) - {"HEAD"}):
        yield Entry(
            path=prefix + route.path,
            method=method,
            endpoint=route.endpoint,
            operation=operation_of(route.endpoint),
            body=_body(route.endpoint),
        )


def _body(endpoint: Any) -> TypeAdapter[Any] | None:
    """What an endpoint reads: the model or adapter that its source hands to the reader."""
    found = BODY.search(inspect.getsource(endpoint))
    named = vars(inspect.getmodule(endpoint)).get(found[1] or found[2]) if found else None
    if isinstance(named, TypeAdapter):
        return named
    return TypeAdapter(named) if inspect.isclass(named) and issubclass(named, BaseModel) else None


def _describe(entry: Entry, *, result: dict[str, Any], body: dict[str, Any] | None) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(entry.endpoint) or "").partition("\n\n")
    described: dict[str, Any] = {
        "operationId": entry.name,
        "tags": [entry.endpoint.__module__.rpartition(".")[2]],
        "summary": " ".join(summary.split()),
        "parameters": [*_path_parameters(entry.path), *_query_parameters(entry.operation)],
        "responses": _responses(entry, result),
    }
    if description:
        described["description"] = " ".join(description.split())
    if entry.operation.nameless or entry.path in OPEN:
        described["security"] = []
    if body is not None:
        described["requestBody"] = {"required": True, "content": {**_json(body), **_form(entry, body)}}
    return described


def _form(entry: Entry, body: dict[str, Any]) -> dict[str, Any]:
    """The same body as a part of a form, if the endpoint reads that too."""
    part = FORM_PART.search(inspect.getsource(entry.endpoint))
    if part is None:
        return {}
    schema = {"type": "object", "properties": {part[1]: body}, "required": [part[1]]}
    encoding = {part[1]: {"contentType": "application/json"}}
    return {FORM: {"schema": schema, "encoding": encoding}}


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name, kind in PARAMETER.findall(path):
        schema = {"type": "integer" if kind == "count" else "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name, meaning in operation.query.items():
        schema = {"type": "integer", "minimum": 1} if name in PAGE_NUMBERS else {"type": "string"}
        required = name in operation.required
        yield {"name": name, "in": "query", "required": required, "description": meaning, "schema": schema}


def _responses(entry: Entry, result: dict[str, Any]) -> dict[str, Any]:
    if entry.path in OPEN:
        return {"200": {"description": "It went well.", "content": _json({"type": "object"})}}
    properties = {"result": result}
    if entry.operation.paged:
        properties["result_info"] = {"$ref": f"{REFERENCE}PageInfo"}
    envelope = {"$ref": f"{REFERENCE}Envelope"}
    good = {"allOf": [envelope, {"type": "object", "properties": properties}]}
    content = _json(good) | {media: {"schema": {"type": "string"}} for media in entry.operation.also}
    responses: dict[str, Any] = {"200": {"description": "It went well.", "content": content}}
    for error in REFUSALS:
        meaning = (inspect.getdoc(error) or "").partition("\n")[0]
        responses[str(error.status)] = {"description": meaning, "content": _json(envelope)}
    return responses


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
