"""Smart placement: requests run where visitor, worker and back ends together are fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl
from kedge_smart.placement import SmartPlacement
from kedge_smart.settings import SmartSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge import RequestPlacement

__all__ = ["SmartPlacement", "SmartSettings"]


@hookimpl
def kedge_register_request_placement() -> Sequence[type[RequestPlacement]]:
    """Offer the policy as `smart`."""
    return [SmartPlacement]
