"""Keeps requests from going to and fro: each move makes the next one harder for a while."""

from __future__ import annotations

#: seconds after which a move counts for half
HALF_LIFE = 12 * 3600.0


class Damping:
    """Counts moves, and forgets them by and by: as routers damp routes that flap."""

    __slots__ = ("_counted_on", "_moves")

    def __init__(self, moves: float = 0.0, now: float = 0.0) -> None:
        """After so many moves; old ones count for less than one."""
        self._moves = moves
        self._counted_on = now

    def moves(self, now: float) -> float:
        """How many there were lately."""
        return float(self._moves * 0.5 ** (max(now - self._counted_on, 0.0) / HALF_LIFE))

    def add(self, now: float) -> None:
        """One more."""
        self._moves, self._counted_on = self.moves(now) + 1.0, now

    def times(self, now: float) -> float:
        """How many times what is usual a gain has to be: twice as much after each move."""
        return float(2.0 ** self.moves(now))
