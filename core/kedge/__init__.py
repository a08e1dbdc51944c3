"""Kedge: self-hosted push-to-deploy. These are the names that plugins import."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kedge.contracts.attempt_name import AttemptName
from kedge.contracts.blobs import BlobInfo, BlobStore, PresignedRequest, check_blob_key
from kedge.contracts.compute import (
    Compute,
    ComputeRequest,
    ComputeState,
    ComputeStatus,
    ExitCause,
    Limits,
    Scope,
)
from kedge.contracts.events import BuildEvent, Deployed, PushReceived, RequestServed
from kedge.contracts.failures import Failure
from kedge.contracts.forge import BuildReport, CloneSource, Delivery, Forge, Push, Repo
from kedge.contracts.host import Host, Principal
from kedge.contracts.log_store import HotFrame, HotLogs, LogChunk, LogExtent, LogKey, LogStore
from kedge.contracts.placement import Candidate, Placement, PlacementRequest
from kedge.contracts.request_placement import (
    BackEndCall,
    ChosenLocation,
    PlacementExplanation,
    PlacementStatus,
    RequestPlacement,
    ServedRequest,
    WeighedLocation,
)
from kedge.contracts.runtime import Instance, InstanceExit, InstanceKind, InstanceRequest, Runtime
from kedge.contracts.signed_parts import SignedParts
from kedge.errors import (
    BlobDamaged,
    BlobNotFound,
    CapacityUnavailable,
    ComputeError,
    ConfigError,
    Conflict,
    Forbidden,
    IllegalMove,
    InstanceFailed,
    InvalidInput,
    KedgeError,
    LogGap,
    NotFound,
    Overloaded,
    PluginError,
    RateLimited,
    ServingError,
    StaleAttempt,
    StartRefused,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
)
from kedge.hookspecs import hookimpl

if TYPE_CHECKING:
    from kedge.attempts import Attempts, Ending, StartedAttempt
    from kedge.config import AbsolutePath, Duration, SecretRef, Size
    from kedge.image_pulls import pull_is_hopeless
    from kedge.readiness import wait_until_ready
    from kedge.runner_route import RunnerRoute
    from kedge.terminal import TerminalFilter

__all__ = [
    "AbsolutePath",
    "AttemptName",
    "Attempts",
    "BackEndCall",
    "BlobDamaged",
    "BlobInfo",
    "BlobNotFound",
    "BlobStore",
    "BuildEvent",
    "BuildReport",
    "Candidate",
    "CapacityUnavailable",
    "ChosenLocation",
    "CloneSource",
    "Compute",
    "ComputeError",
    "ComputeRequest",
    "ComputeState",
    "ComputeStatus",
    "ConfigError",
    "Conflict",
    "Delivery",
    "Deployed",
    "Duration",
    "Ending",
    "ExitCause",
    "Failure",
    "Forbidden",
    "Forge",
    "Host",
    "HotFrame",
    "HotLogs",
    "IllegalMove",
    "Instance",
    "InstanceExit",
    "InstanceFailed",
    "InstanceKind",
    "InstanceRequest",
    "InvalidInput",
    "KedgeError",
    "Limits",
    "LogChunk",
    "LogExtent",
    "LogGap",
    "LogKey",
    "LogStore",
    "NotFound",
    "Overloaded",
    "Placement",
    "PlacementExplanation",
    "PlacementRequest",
    "PlacementStatus",
    "PluginError",
    "PresignedRequest",
    "Principal",
    "Push",
    "PushReceived",
    "RateLimited",
    "Repo",
    "RequestPlacement",
    "RequestServed",
    "RunnerRoute",
    "Runtime",
    "Scope",
    "SecretRef",
    "ServedRequest",
    "ServingError",
    "SignedParts",
    "Size",
    "StaleAttempt",
    "StartRefused",
    "StartedAttempt",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "TerminalFilter",
    "TooLarge",
    "Unauthorized",
    "WeighedLocation",
    "check_blob_key",
    "hookimpl",
    "pull_is_hopeless",
    "wait_until_ready",
]


#: what costs an import that not everybody needs: only settings models want pydantic, only backends asyncio
_LATER = {
    **dict.fromkeys(("Attempts", "Ending", "StartedAttempt"), "kedge.attempts"),
    **dict.fromkeys(("AbsolutePath", "Duration", "SecretRef", "Size"), "kedge.config"),
    "pull_is_hopeless": "kedge.image_pulls",
    "RunnerRoute": "kedge.runner_route",
    "TerminalFilter": "kedge.terminal",
    "wait_until_ready": "kedge.readiness",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'kedge' has no attribute {name!r}")
