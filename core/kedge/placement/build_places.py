"""Where builds can run: the nodes that are there, and what is known of each location."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from kedge.contracts.placement import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kedge.db.queries.nodes import Present
    from kedge.db.queries.queue import Load

#: compute and location
Place = tuple[str, str]


def machine_load() -> float:
    """Processes of this machine that wait for or use a processor, for each processor, over a minute."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


class BuildPlaces:
    """The candidates of one round of the scheduler; counts what the round itself places."""

    def __init__(
        self,
        here: Place,
        nodes: Iterable[Present],
        load: Load,
        distances: Mapping[str, Mapping[str, float]],
    ) -> None:
        """`here` is the place of the node that asks; it comes first, and so wins among equals."""
        self.here = here
        self._loads: dict[Place, float] = {here: machine_load()}
        for node in nodes:
            place = (node.compute, node.location)
            self._loads[place] = min(node.load, self._loads.get(place, node.load))
        self._distances = distances
        self._running: dict[Place, defaultdict[str, int]] = {
            place: defaultdict(int, load.by_place.get(place, {})) for place in self._loads
        }

    def candidates(self) -> list[Candidate]:
        """Each place once, this node's first."""
        return [
            Candidate(
                location=place[1],
                compute=place[0],
                running=sum(self._running[place].values()),
                accounts=dict(self._running[place]),
                load=load,
                distances=self._distances.get(place[1], {}),
            )
            for place, load in self._loads.items()
        ]

    def is_here(self, candidate: Candidate) -> bool:
        """Whether this node can start a build there."""
        return (candidate.compute, candidate.location) == self.here

    def count(self, candidate: Candidate, account: str) -> None:
        """A build will run there."""
        self._running[candidate.compute, candidate.location][account] += 1
