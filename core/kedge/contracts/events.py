"""What event hooks are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from kedge.contracts.forge import Push


@dataclass(frozen=True, kw_only=True)
class BuildEvent:
    """A build, as it stands when something happens to it."""

    build_uuid: str
    attempt: int
    account: str
    worker: str
    branch: str
    commit_hash: str
    status: str
    outcome: str | None
    created_on: datetime
    stopped_on: datetime | None = None
    #: a failure class of `kedge.contracts.failures`, when it failed
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A version that now serves, in production or under a preview alias."""

    account: str
    worker: str
    version_id: str
    url: str
    alias: str | None
    build_uuid: str | None


@dataclass(frozen=True, kw_only=True)
class RequestServed:
    """One request that the gateway answered."""

    account: str
    worker: str
    version_id: str
    method: str
    path: str
    status: int
    duration_ms: float
    bytes_sent: int


@dataclass(frozen=True, kw_only=True)
class PushReceived:
    """One branch of a delivery, and the builds that it queued."""

    push: Push
    build_uuids: tuple[str, ...]
