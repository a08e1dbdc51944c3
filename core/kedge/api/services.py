"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.api.access import Access
    from kedge.builds.build_logs import BuildLogs
    from kedge.builds.cache_parts import CacheParts
    from kedge.builds.caches import Caches
    from kedge.builds.control import Control
    from kedge.builds.deploy_hooks import DeployHooks
    from kedge.builds.intake import Intake
    from kedge.builds.runners import Runners
    from kedge.cleaning.cleaner import Cleaner
    from kedge.config import Settings
    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.forge import Forge
    from kedge.db.engine import Database
    from kedge.placement.control_plane import ControlPlane
    from kedge.registry import Registry
    from kedge.secrets import SecretBox
    from kedge.workers.deployments import Deployments
    from kedge.workers.placed import PlacementSettings
    from kedge.workers.places.places import Places
    from kedge.workers.running import Running
    from kedge.workers.versions import Versions
    from kedge.workers.worker_logs import WorkerLogs


@dataclass(frozen=True, kw_only=True)
class Services:
    """Wired once by the node; routes find it as `request.app.state.services`."""

    settings: Settings
    db: Database
    registry: Registry
    secrets: SecretBox
    access: Access
    blobs: BlobStore
    forges: Mapping[str, Forge]
    intake: Intake
    deploy_hooks: DeployHooks
    control: Control
    logs: BuildLogs
    caches: Caches
    cache_parts: CacheParts
    cleaner: Cleaner
    runners: Runners
    versions: Versions
    deployments: Deployments
    worker_logs: WorkerLogs
    #: `None` on a node that serves files alone
    running: Running | None
    places: Places
    control_plane: ControlPlane
    placement_settings: PlacementSettings
    public_url: str
