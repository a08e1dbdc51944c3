"""Builds and their queue."""

from __future__ import annotations

from typing import Any

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict

from kedge.api.shapes.triggers import TriggerShape
from kedge.api.shapes.variables import VariableShape


class HookName(TypedDict):
    """Which deploy hook asked for a build, by the name that it had then."""

    deploy_hook_name: str


class MetadataShape(TypedDict):
    """What a build was made of, as it was then."""

    build_trigger_source: str
    branch: str
    commit_hash: str
    commit_message: str
    author: str
    build_command: str
    deploy_command: str
    root_directory: str
    build_token_uuid: str | None
    build_token_name: str | None
    environment_variables: dict[str, VariableShape]
    repo_name: str
    provider_account_name: str
    provider_type: str


class AttemptShape(TypedDict):
    """One try at a build."""

    number: int
    node: str
    compute: str
    location: str
    started_on: str | None
    ended_on: str | None


FailureShape = TypedDict("FailureShape", {"class": str, "message": str | None, "advice": str})
FailureShape.__doc__ = "Why a build failed, and what to do."


class WaitShape(TypedDict):
    """Why a build waits, and behind whom."""

    position: int
    reason: str
    before: list[str]


class ExtraShape(TypedDict):
    """What Kedge knows of a build beyond Workers Builds."""

    worker: str
    attempt: int
    attempts: list[AttemptShape]
    is_production: bool
    trusted: bool
    exit_code: int | None
    failure: FailureShape | None
    message: str | None
    phases: list[dict[str, Any]]
    wait: WaitShape | None
    url: str | None
    version_id: str | None
    log_url: str


class BuildShape(TypedDict):
    """One commit of one worker, from queued to stopped. Attempts and URLs: of a single one only."""

    build_uuid: str
    status: str
    build_outcome: str | None
    created_on: str | None
    initializing_on: str | None
    running_on: str | None
    stopped_on: str | None
    modified_on: str | None
    preview_url: str | None
    deploy_hook: HookName | None
    pull_request: None
    trigger: TriggerShape
    build_trigger_metadata: MetadataShape
    kedge: ExtraShape


class BuildsShape(TypedDict):
    """Builds by what was asked for."""

    builds: dict[str, BuildShape]


class CancelledShape(TypedDict):
    """A build that was cancelled. One that still comes to its end has no outcome yet."""

    build_uuid: str
    build_outcome: str | None
    stopped_on: str | None


class QueuedShape(WaitShape):
    """A build in the queue."""

    build_uuid: str
    worker: str
    branch: str
    is_production: bool
    created_on: str | None


class LimitsShape(TypedDict):
    """Limits on build minutes."""

    has_reached_build_minutes_limit: bool
    build_minutes_refresh_on: str | None
