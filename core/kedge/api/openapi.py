"""The API as an OpenAPI document, made from the routes and from the models of their bodies."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from kedge.errors import InvalidInput, NotFound, Unauthorized

if TYPE_CHECKING:
    from starlette.routing import Route

PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
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
        "result_info": {"type": "object"},
    },
}
OPEN = frozenset({"/healthz", "/readyz", "/openapi.json"})


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1; the same for the same code."""
    from kedge.api import app, health, runner  # noqa: PLC0415  (these import this module)

    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Envelope": ENVELOPE}
    for prefix, routes in (("", health.routes), ("", runner.routes), (app.ACCOUNT, app.ACCOUNT_ROUTES)):
        for route in routes:
            path = PARAMETER.sub(r"{\1}", prefix + route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                operation = _operation(route, prefix + route.path, method, schemas)
                paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kedge", "version": "4"},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, path: str, method: str, schemas: dict[str, Any]) -> dict[str, Any]:
    endpoint = route.endpoint
    text = inspect.getdoc(endpoint) or ""
    summary, _, description = text.partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.__module__.rpartition('.')[2]}_{endpoint.__name__}_{_slug(path, method)}",
        "summary": " ".join(summary.split()),
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "integer" if kind == "int" else "string"},
            }
            for name, kind in PARAMETER.findall(path)
        ],
        "responses": _responses(path),
    }
    if description:
        operation["description"] = description
    if path in OPEN:
        operation["security"] = []
    model = _body_model(endpoint)
    if model is not None:
        operation["requestBody"] = _request_body(model, schemas)
    return operation


def _slug(path: str, method: str) -> str:
    return re.sub(r"\W+", "_", f"{method}{PARAMETER.sub('', path)}").strip("_").lower()


def _responses(path: str) -> dict[str, Any]:
    schema = {} if path in OPEN else {"$ref": "#/components/schemas/Envelope"}
    content = {"application/json": {"schema": schema}}
    responses = {"200": {"description": "It went well.", "content": content}}
    if path not in OPEN:
        for error in (InvalidInput, Unauthorized, NotFound):
            meaning = (inspect.getdoc(error) or "").partition("\n")[0]
            responses[str(error.status)] = {"description": meaning, "content": content}
    return responses


def _body_model(endpoint: Any) -> type[BaseModel] | None:
    """The model that an endpoint reads, found where it is handed to the reader."""
    module = inspect.getmodule(endpoint)
    found = re.search(r"read(?:_body)?\(request, (\w+)", inspect.getsource(endpoint))
    model = getattr(module, found[1], None) if found else None
    return model if inspect.isclass(model) and issubclass(model, BaseModel) else None


def _request_body(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": reference}}}
