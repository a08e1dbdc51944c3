"""The strategies that Kedge brings itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.placement.capacity import Capacity
from kedge.placement.distance import Distance
from kedge.placement.fairness import Fairness
from kedge.placement.load import Load
from kedge.placement.locality import Locality

if TYPE_CHECKING:
    from kedge.contracts.placement import Placement

STRATEGIES: dict[str, type[Placement]] = {
    strategy.name: strategy for strategy in (Capacity, Load, Fairness, Distance, Locality)
}
