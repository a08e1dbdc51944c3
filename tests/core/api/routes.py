"""Every route of the API, and how to call it: what the tests that walk over all of them share."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from starlette.routing import Match

from kedge.api.app import ACCOUNT, ACCOUNT_ROUTES
from kedge.api.openapi import document
from kedge.api.operations import operation_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.core.api.conftest import Caller, World

PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
CONTENT = b"<h1>Hello</h1>"
DIGEST = sha256(CONTENT).hexdigest()
MANIFEST = {"kind": "static", "files": {"index.html": {"sha256": DIGEST, "size": len(CONTENT)}}}

#: what `{uuid}` stands for, by how the path begins
UUIDS = {
    "/builds/triggers": "trigger",
    "/builds/repos/connections": "connection",
    "/builds/tokens": "build_token",
    "/builds/workers/{worker}/deploy_hooks": "deploy_hook",
}
NEW_TRIGGER = {
    "external_script_id": "{worker}",
    "repo_connection_uuid": "{connection}",
    "build_token_uuid": "{build_token}",
    "trigger_name": "another",
    "branch_includes": ["main"],
}
DEPLOYMENT = {"strategy": "percentage", "versions": [{"version_id": "{version_id}", "percentage": 100}]}
#: a good body for each route that takes one; `{…}` stands for an object
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/cleanup"): None,
    ("POST", "/workers/workers"): {"name": "another"},
    ("PATCH", "/workers/workers/{worker}"): {"name": "renamed"},
    ("POST", "/workers/workers/{worker}/versions/uploads"): MANIFEST,
    ("PUT", "/workers/workers/{worker}/versions/uploads/{upload_id}/files/{sha256}"): None,
    ("POST", "/workers/workers/{worker}/versions/uploads/{upload_id}/complete"): {"deploy": True},
    ("POST", "/workers/workers/{worker}/deployments"): DEPLOYMENT,
    ("POST", "/workers/scripts/{worker}/deployments"): DEPLOYMENT,
    ("POST", "/workers/workers/{worker}/rollback"): {"version_id": "{version_id}"},
    ("PATCH", "/workers/workers/{worker}/settings"): {"placement": {"mode": "off"}},
    ("PATCH", "/workers/scripts/{worker}/settings"): {"placement": {"mode": "off"}},
    ("PUT", "/workers/workers/{worker}/secrets"): {"name": "KEY", "text": "changed"},
    ("PUT", "/workers/scripts/{worker}/secrets"): {"name": "KEY", "text": "changed"},
    ("PUT", "/builds/builds/{build_uuid}/cancel"): None,
    ("PUT", "/builds/builds/{build_uuid}/retry"): None,
    ("POST", "/builds/triggers"): NEW_TRIGGER,
    ("PATCH", "/builds/triggers/{uuid}"): {
        "repo_connection_uuid": "{connection}",
        "build_token_uuid": "{build_token}",
        "build_command": "changed",
    },
    ("POST", "/builds/triggers/{uuid}/builds"): {"branch": "main"},
    ("POST", "/builds/triggers/{uuid}/purge_build_cache"): None,
    ("PATCH", "/builds/triggers/{uuid}/environment_variables"): {"KEY": {"value": "changed"}},
    ("POST", "/builds/triggers/{uuid}/environment_variables/compare"): {"KEY": "value"},
    ("PUT", "/builds/repos/connections"): {"provider_type": "fake", "repo_id": "another"},
    ("POST", "/builds/workers/{worker}/deploy_hooks"): {"deploy_hook_name": "another", "branch": "main"},
    ("PUT", "/builds/workers/{worker}/deploy_hooks/{uuid}"): {"deploy_hook_name": "cms", "branch": "dev"},
    ("POST", "/builds/tokens"): {"build_token_name": "another", "build_token_secret": "s"},
    ("POST", "/tokens"): {"name": "another"},
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One method of one route below the account; its path and body name objects as `{…}`."""

    method: str
    template: str

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def path(self) -> str:
        if "{provider}" in self.template:
            return PARAMETER.sub(r"{\1}", self.template).replace("{provider}", "fake")
        for prefix, kind in UUIDS.items():
            if self.template.startswith(prefix):
                return self.template.replace("{uuid}", f"{{{kind}}}")
        return self.template

    @property
    def body(self) -> Any:
        if self.method in {"GET", "DELETE"}:
            return None
        return BODIES[self.method, self.template]

    @property
    def objects(self) -> set[str]:
        """The kinds of objects it names."""
        return set(PARAMETER.findall(f"{self.path} {self.body}")) - {"key", "sha256"}

    def filled(self, objects: Mapping[str, str]) -> tuple[str, str, Any]:
        """Method, path and body with these objects."""
        return self.method, _fill(self.path, objects), _fill(self.body, objects)


def every_call() -> Iterator[Call]:
    """Each route below the account with each of its methods."""
    for route in ACCOUNT_ROUTES:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield Call(method=method, template=route.path)


def _fill(value: Any, objects: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return PARAMETER.sub(lambda found: objects[found[1]], value)
    if isinstance(value, dict):
        return {key: _fill(one, objects) for key, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, objects) for one in value]
    return value


def check_shape(method: str, path: str, envelope: dict[str, Any]) -> None:
    """Hold an answer to what the route says of it, and to nothing more."""
    scope = {"type": "http", "method": method, "path": unquote(path.partition("?")[0]), "root_path": ""}
    [route] = [route for route in ACCOUNT_ROUTES if route.matches(scope)[0] is Match.FULL][:1]
    operation = operation_of(route.endpoint)
    assert operation.result is not Any, f"{method} {route.path} does not say what it answers"
    adapter, result = TypeAdapter(operation.result), envelope["result"]
    read = adapter.validate_json(json.dumps(result), strict=True)
    assert adapter.dump_python(read, mode="json") == result
    assert ("result_info" in envelope) == operation.paged
    check_document(method, route.path, 200, envelope)


def check_document(method: str, template: str, status: int, envelope: dict[str, Any]) -> None:
    """Hold an answer to the OpenAPI document."""
    validator(method, PARAMETER.sub(r"{\1}", f"{ACCOUNT}{template}"), status).validate(envelope)


@cache
def validator(method: str, path: str, status: int) -> Draft202012Validator:
    """Checks answers of one route and status by the published schema."""
    operation = document()["paths"][path][method.lower()]
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document()["components"]})


async def make_objects(world: World, caller: Caller, worker: str) -> dict[str, str]:
    """One object of every kind, all of one account."""
    project = await caller.make_project(worker)
    variables = {"KEY": {"value": "value", "is_secret": True}}
    await caller.result("PATCH", f"/builds/triggers/{project.trigger}/environment_variables", variables)
    secret = {"name": "KEY", "text": "value"}
    await caller.result("PUT", f"/workers/workers/{worker}/secrets", secret)
    build_token = await caller.result(
        "POST", "/builds/tokens", {"build_token_name": "deploys", "build_token_secret": "s"}
    )
    hook = {"deploy_hook_name": "cms", "branch": "main"}
    deploy_hook = await caller.result("POST", f"/builds/workers/{worker}/deploy_hooks", hook)
    api_token = await caller.result("POST", "/tokens", {"name": f"of {worker}"})
    uploads = f"/workers/workers/{worker}/versions/uploads"
    upload = (await caller.result("POST", uploads, MANIFEST))["upload_id"]
    await caller.call("PUT", f"{uploads}/{upload}/files/{DIGEST}", content=CONTENT)
    version = await caller.result("POST", f"{uploads}/{upload}/complete", {"deploy": True})
    deployments = await caller.result("GET", f"/workers/workers/{worker}/deployments")
    build_uuid = await world.build(caller, project)
    await world.recorded(build_uuid)
    return {
        "worker": worker,
        "provider_account": caller.account,
        "repo": worker,
        "tag": project.tag,
        "connection": project.connection,
        "trigger": project.trigger,
        "key": "KEY",
        "build_uuid": build_uuid,
        "build_token": build_token["build_token_uuid"],
        "deploy_hook": deploy_hook["deploy_hook_uuid"],
        "id": api_token["id"],
        "version_id": version["version_id"],
        "deployment_id": deployments["deployments"][0]["id"],
        "upload_id": (await caller.result("POST", uploads, MANIFEST))["upload_id"],
        "sha256": DIGEST,
    }
