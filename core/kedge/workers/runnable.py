"""A version as those see it who run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kedge.contracts.compute import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.contracts.runtime import InstanceKind
    from kedge.workers.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Runnable:
    """All that an instance of a version is made from. `None` leaves a number to the settings."""

    account_id: str
    worker_id: str
    worker: str
    version_id: str
    kind: InstanceKind
    entry: tuple[str, ...] = ()
    image: str | None = None
    manifest: Manifest | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: the path that must answer with 200 to 399; without one, `/` with anything below 500
    health: str | None = None
    concurrency: int | None = None
    max_instances: int | None = None
    limits: Limits = field(default_factory=Limits)
