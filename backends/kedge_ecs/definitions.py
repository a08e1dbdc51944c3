"""Task definitions: registered once for each content, and found again by its hash."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from kedge_ecs.settings import MIB

if TYPE_CHECKING:
    from kedge import ComputeRequest
    from kedge_ecs.service import Service
    from kedge_ecs.settings import EcsSettings

HASH = "kedge.hash"
CONTAINER = "build"
WORKSPACE = "/workspace"
#: how the build image starts its runner: nothing but it and the standard library is imported
ENTRYPOINT = ["python3", "-I", "-S", "/opt/kedge"]
#: the newest so many are looked at before another is registered
LOOKED_AT = 10


class Definitions:
    """Those of one family."""

    def __init__(self, service: Service, settings: EcsSettings) -> None:
        """Ask for nothing yet."""
        self._service = service
        self._settings = settings
        self._known: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def arn_for(self, request: ComputeRequest) -> str:
        """The one for a request. Raises `CapacityUnavailable` or `StartRefused`."""
        content = definition_for(self._settings, request)
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        async with self._lock:
            if digest not in self._known:
                self._known[digest] = await self._find(digest) or await self._register(digest, content)
            return self._known[digest]

    def doubt(self) -> None:
        """Look again before the next start: someone may have removed one."""
        self._known.clear()

    async def _find(self, digest: str) -> str | None:
        listed = await self._service.call(
            "list_task_definitions",
            familyPrefix=self._settings.family,
            status="ACTIVE",
            sort="DESC",
            maxResults=LOOKED_AT,
        )
        for arn in listed["taskDefinitionArns"]:
            found = await self._service.call("describe_task_definition", taskDefinition=arn, include=["TAGS"])
            if {"key": HASH, "value": digest} in found.get("tags", []):
                return str(arn)
        return None

    async def _register(self, digest: str, content: dict[str, Any]) -> str:
        tags = [{"key": HASH, "value": digest}]
        made = await self._service.call("register_task_definition", **content, tags=tags)
        return str(made["taskDefinition"]["taskDefinitionArn"])


def definition_for(settings: EcsSettings, request: ComputeRequest) -> dict[str, Any]:
    """What is registered. It tells nothing of the build but its image and its size."""
    limits = request.limits
    memory = settings.memory_mib
    if limits.memory_bytes is not None:
        memory = min(memory, max(limits.memory_bytes // MIB, 6))
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": request.image or settings.image,
        "entryPoint": ENTRYPOINT,
        "essential": True,
        "memory": memory,
        "user": "1000:1000",
        "workingDirectory": WORKSPACE,
        "stopTimeout": settings.stop_timeout,
        # reaps what builds leave, and lets the runner be ended by signals
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
    }
    if settings.registry_credentials is not None:
        container["repositoryCredentials"] = {"credentialsParameter": settings.registry_credentials}
    if limits.open_files is not None:
        limit = limits.open_files
        container["ulimits"] = [{"name": "nofile", "softLimit": limit, "hardLimit": limit}]
    definition: dict[str, Any] = {
        "family": settings.family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": [settings.launch_type],
        "cpu": str(settings.cpu),
        "memory": str(settings.memory_mib),
        "containerDefinitions": [container],
    }
    if settings.disk is not None:
        definition["ephemeralStorage"] = {"sizeInGiB": int(settings.disk) // (1024 * MIB)}
    if settings.execution_role is not None:
        definition["executionRoleArn"] = settings.execution_role
    # no task role: a build gets no rights in AWS
    return definition
