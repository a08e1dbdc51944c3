"""What the parts of a build's life share on one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.contracts.compute import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from kedge.builds.background import Background
    from kedge.builds.build_logs import BuildLogs
    from kedge.builds.elsewhere import LeftElsewhere
    from kedge.builds.liveness import Liveness
    from kedge.builds.reports import Reports
    from kedge.builds.runner_tokens import RunnerTokens
    from kedge.builds.talks_to import TalksTo
    from kedge.config import Settings
    from kedge.contracts.compute import Compute
    from kedge.contracts.forge import Forge
    from kedge.db.engine import Database
    from kedge.placement.chain import Chain
    from kedge.registry import Registry
    from kedge.secrets import SecretBox


@dataclass(frozen=True, kw_only=True)
class BuildServices:
    """Wired once by the node."""

    settings: Settings
    db: Database
    registry: Registry
    compute: Compute
    placement: Chain
    forges: Mapping[str, Forge]
    logs: BuildLogs
    reports: Reports
    liveness: Liveness
    runner_tokens: RunnerTokens
    secrets: SecretBox
    background: Background
    #: where runners find this node: `http://…` or `unix:…`
    endpoint: str
    public_url: str
    talks_to: TalksTo
    #: the round-trip times from each location to what it is asked for, as far as they are known
    distances: Callable[[Collection[str]], Mapping[str, Mapping[str, float]]]
    #: builds for which another node is the better place
    elsewhere: LeftElsewhere
    #: ask for a round of the scheduler
    wake_scheduler: Callable[[], None]
    #: wake the other nodes: what happened, to which build
    tell_nodes: Callable[[str, str], None]

    def reaches(self, node: str) -> bool:
        """Whether this node's compute can end what runs for that one."""
        return self.compute.scope is Scope.CLUSTER or node == self.settings.node.name
