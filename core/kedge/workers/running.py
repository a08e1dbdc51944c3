"""What a node has that runs workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from kedge.contracts.runtime import InstanceKind
    from kedge.workers.instances import Instances
    from kedge.workers.retirement import Retirement
    from kedge.workers.rollouts import Rollouts
    from kedge.workers.warm_up import WarmUp


@dataclass(frozen=True, kw_only=True)
class Running:
    """The instances of this node, and the deployments that wait for some."""

    kinds: AbstractSet[InstanceKind]
    instances: Instances
    rollouts: Rollouts
    warm_up: WarmUp
    retirement: Retirement
