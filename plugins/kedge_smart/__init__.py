"""Smart placement: requests run where visitor, worker and back ends together are fastest.

The policy is whole and is tried in simulation; no node asks it yet.
"""

from __future__ import annotations

from kedge_smart.placement import SmartPlacement
from kedge_smart.settings import SmartSettings

__all__ = ["SmartPlacement", "SmartSettings"]
