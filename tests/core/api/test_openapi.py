"""The OpenAPI document: complete, sound, and the same each time. `conftest` holds every answer to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from tests.core.api.routes import BODIES, check_document, every_call

from kedge.api import runner, runner_cache_parts, runner_caches
from kedge.api.openapi import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.core.api.conftest import World

ACCOUNT = "/client/v4/accounts/{account}"
HOOK = "/client/v4/workers/builds/deploy_hooks/{uuid}"
HEALTH = {"/healthz", "/readyz", "/openapi.json"}
METHODS = {"get", "put", "post", "patch", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


async def test_the_document_is_served_to_anybody(world: World) -> None:
    response = await world.client.get("/openapi.json")

    assert response.headers["content-type"] == "application/json"
    assert response.json() == document()
    assert response.json()["openapi"] == "3.1.0"


def test_it_is_openapi_by_the_specification() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_a_document_that_is_none_would_be_noticed() -> None:
    broken = {**document(), "paths": {"/x": {"get": {"responses": {"200": {}}}}}}

    with pytest.raises(OpenAPIValidationError):
        OpenAPIV31SpecValidator(broken).validate()


@pytest.mark.parametrize("wrong", [{}, {"deployments": {}}, {"deployments": [{}]}, []])
def test_an_answer_that_is_not_as_described_would_be_noticed(wrong: Any) -> None:
    good = {"success": True, "errors": [], "messages": [], "result": {"deployments": []}}
    check_document("GET", "/workers/workers/{worker}/deployments", 200, good)

    with pytest.raises(ValidationError):
        check_document("GET", "/workers/workers/{worker}/deployments", 200, {**good, "result": wrong})


def test_every_route_says_what_it_answers() -> None:
    untyped = [
        f"{method} {path}"
        for path, method, operation in operations()
        if path not in HEALTH and _result(operation) == {}
    ]

    assert untyped == []


def _result(operation: dict[str, Any]) -> Any:
    good = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return good["allOf"][1]["properties"]["result"]


def _plain(path: str) -> str:
    """A route's path without what its parameters must be like."""
    return re.sub(r":\w+}", "}", path)


def test_every_route_is_in_it_and_nothing_else() -> None:
    wanted = {(_plain(ACCOUNT + call.template), call.method.lower()) for call in every_call()}
    for route in (*runner.routes, *runner_caches.routes, *runner_cache_parts.routes):
        wanted |= {(_plain(route.path), method.lower()) for method in route.methods or () if method != "HEAD"}
    wanted.add((HOOK, "post"))
    wanted |= {(path, "get") for path in HEALTH}

    assert {(path, method) for path, method, _ in operations()} == wanted


def test_every_reference_leads_somewhere() -> None:
    schemas = document()["components"]["schemas"]
    references = {found["$ref"] for found in walk(document()) if isinstance(found.get("$ref"), str)}

    assert len(references) > 30
    assert {f"#/components/schemas/{name}" for name in schemas} >= references


@pytest.mark.parametrize(("path", "method", "operation"), list(operations()), ids=lambda one: str(one)[-60:])
def test_every_operation_is_sound(path: str, method: str, operation: dict[str, Any]) -> None:
    assert method in METHODS
    assert operation["summary"].endswith((".", ";"))
    assert "200" in operation["responses"]
    assert all(answer["description"] for answer in operation["responses"].values())
    named = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    assert named == re.findall(r"{(\w+)}", path)
    assert all(one["required"] for one in operation["parameters"] if one["in"] == "path")
    assert len({(one["name"], one["in"]) for one in operation["parameters"]}) == len(operation["parameters"])
    assert "requestBody" not in operation or method in {"post", "put", "patch"}


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(set(names)) == len(names)


def test_every_body_is_described() -> None:
    for (method, template), body in BODIES.items():
        operation = document()["paths"][ACCOUNT + template][method.lower()]
        assert ("requestBody" in operation) == (body is not None), f"{method} {template}"
    report = document()["paths"]["/api/builds/{build_uuid}/status"]["put"]
    assert report["requestBody"]["content"]["application/json"]["schema"]


def test_only_health_the_document_and_deploy_hooks_want_no_token() -> None:
    free = {path for path, _, operation in operations() if operation.get("security") == []}

    assert free == HEALTH | {HOOK}


def test_it_is_the_same_in_every_process() -> None:
    program = "import orjson, sys; from kedge.api.openapi import document; print(orjson.dumps(document()))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert runs[0] == runs[1]
