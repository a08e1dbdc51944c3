"""Where the API's own writes are answered fastest: near the database, if that is far from here."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kedge.placement.peers import Peer

#: transactions that a write waits for, one after the other: who asks, what there is, what becomes of it
TRANSACTIONS = 3
#: measurements that count
KEPT = 15
#: what a node elsewhere has to be faster by
MARGIN, LEAST_MS = 0.2, 5.0
#: part of the writes that stay here, to compare with
BASELINE = 0.01


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """A node, and what a write would take there."""

    name: str
    location: str
    database_ms: float | None
    way_ms: float | None

    @property
    def expected_ms(self) -> float | None:
        """The way there and all transactions; `None` if something of it is not known."""
        if self.database_ms is None or self.way_ms is None:
            return None
        return self.way_ms + TRANSACTIONS * self.database_ms


class ControlPlane:
    """Weighs the nodes of one database. Looks at nothing but memory."""

    def __init__(self, name: str, location: str) -> None:
        """Nothing is known: what is asked here is done here."""
        self._name = name
        self._location = location
        self._transactions: deque[float] = deque(maxlen=KEPT)
        self._others: dict[str, tuple[str, float | None]] = {}

    def measured(self, transaction_ms: float) -> None:
        """How long a transaction from here took that does nothing."""
        self._transactions.append(transaction_ms)

    def found(self, others: Iterable[tuple[str, str, float | None]]) -> None:
        """The other nodes of the database: name, location, and how long transactions take from there."""
        self._others = {name: (location, took) for name, location, took in others}

    @property
    def database_ms(self) -> float | None:
        """How long a transaction from here takes."""
        return median(self._transactions) if self._transactions else None

    def weigh(self, ways: Mapping[str, float], alive: Iterable[str]) -> list[Weighed]:
        """This node, then the others that answer; `ways` are the round-trip times from here by location."""
        own = Weighed(name=self._name, location=self._location, database_ms=self.database_ms, way_ms=0.0)
        there = set(alive)
        others = [
            Weighed(name=name, location=location, database_ms=took, way_ms=ways.get(location))
            for name, (location, took) in sorted(self._others.items())
            if name in there and location != self._location
        ]
        return [own, *others]

    def best(self, weighed: Sequence[Weighed]) -> Weighed:
        """Where writes are done: the first, unless another is faster beyond doubt."""
        own = weighed[0]
        if own.expected_ms is None:
            return own
        known = [(one.expected_ms, one.name, one) for one in weighed if one.expected_ms is not None]
        least, _, found = min(known)
        return found if least < own.expected_ms * (1 - MARGIN) - LEAST_MS else own

    def choose(
        self, peers: Mapping[str, Peer], ways: Mapping[str, float], alive: Iterable[str]
    ) -> Peer | None:
        """The node that does the next write; `None` for this one."""
        found = self.best(self.weigh(ways, alive))
        if found.name == self._name or random.random() < BASELINE:  # noqa: S311  (a sample, no secret)
            return None
        return peers.get(found.name)
