"""What requests for running workers are answered with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.workers.instances import Instances
    from kedge.workers.places.places import Places
    from kedge.workers.relay.relay import Relay
    from kedge.workers.visitors import Visitors

#: under which the state of a request has where it runs, if that was chosen before it took the long way
PLACE = "kedge.place"


@dataclass(frozen=True, kw_only=True)
class Means:
    """The same for both ways, the short one and the long one."""

    instances: Instances
    relay: Relay
    places: Places
    visitors: Visitors
    #: an instance may go on after its answer for so many seconds
    longest_wait_until: float
