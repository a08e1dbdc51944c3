"""The strategies that Kedge brings itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.placement.capacity import Capacity

if TYPE_CHECKING:
    from kedge.contracts.placement import Placement

STRATEGIES: dict[str, type[Placement]] = {Capacity.name: Capacity}
