"""What starts builds."""

from __future__ import annotations

from typing import NotRequired

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict

from kedge.api.shapes.caches import CacheDeclaration
from kedge.api.shapes.repos import ConnectionShape


class TriggerShape(TypedDict):
    """Which pushes build a worker, and how."""

    trigger_uuid: str
    external_script_id: str
    trigger_name: str
    build_command: str
    deploy_command: str
    root_directory: str
    branch_includes: list[str]
    branch_excludes: list[str]
    path_includes: list[str]
    path_excludes: list[str]
    build_caching_enabled: bool
    build_caches: list[CacheDeclaration]
    build_token_uuid: str | None
    created_on: str | None
    modified_on: str | None
    deleted_on: str | None
    repo_connection: ConnectionShape | None


class HookAddress(TypedDict):
    """What to POST to."""

    url: str


class DeployHookShape(TypedDict):
    """An address that starts builds of a branch. Its UUID is a secret: readers do not see it."""

    deploy_hook_uuid: NotRequired[str]
    deploy_hook_name: str
    branch: str
    external_script_id: str
    created_on: str | None
    modified_on: str | None
    kedge: NotRequired[HookAddress]


class LatestBuildShape(TypedDict):
    """The newest build of a hook."""

    created_on: str | None


class ListedHookShape(DeployHookShape):
    """A hook in the list."""

    latest_build: LatestBuildShape | None


class AskedShape(TypedDict):
    """The build that a call of a hook led to, or the one that was waiting already."""

    build_uuid: str
    status: str
    created_on: str | None
    already_exists: bool
