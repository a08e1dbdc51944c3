"""Every table. The account is the shard key of each; times are whole milliseconds since 1970, in UTC."""

from kedge.db.tables.accounts import Account, ApiToken
from kedge.db.tables.blobs import Cleaning, DoomedBlob
from kedge.db.tables.builds import Attempt, Build, Delivery
from kedge.db.tables.caches import CacheArchive, CacheEntry
from kedge.db.tables.hooks import DeployHook
from kedge.db.tables.nodes import HotChunk, HotLog, NodeRow
from kedge.db.tables.objects import ObjectAlarm, ObjectValue
from kedge.db.tables.triggers import BuildToken, RepoConnection, Trigger, TriggerVariable
from kedge.db.tables.workers import (
    Deployment,
    MeasuredWay,
    PlacementMemory,
    PreviewAlias,
    Upload,
    Version,
    Worker,
    WorkerLog,
    WorkerSecret,
)

__all__ = [
    "Account",
    "ApiToken",
    "Attempt",
    "Build",
    "BuildToken",
    "CacheArchive",
    "CacheEntry",
    "Cleaning",
    "Delivery",
    "DeployHook",
    "Deployment",
    "DoomedBlob",
    "HotChunk",
    "HotLog",
    "MeasuredWay",
    "NodeRow",
    "ObjectAlarm",
    "ObjectValue",
    "PlacementMemory",
    "PreviewAlias",
    "RepoConnection",
    "Trigger",
    "TriggerVariable",
    "Upload",
    "Version",
    "Worker",
    "WorkerLog",
    "WorkerSecret",
]
