"""All that a compute backend promises."""

from __future__ import annotations

from kedge.testing.compute.ends import Ends
from kedge.testing.compute.restarts import Restarts
from kedge.testing.compute.starts import Starts


class ComputeSuite(Starts, Ends, Restarts):
    """Subclass it as `class TestMine(ComputeSuite)` and give the fixture `make_compute`.

    The runner's place is taken by a stand-in, found by importing `kedge_runner` (see `stand_in`) or from
    the folder `STAND_IN`; it calls the test at the request's endpoint and does what it is told.
    """
