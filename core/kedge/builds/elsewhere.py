"""Builds that are better run by another node: they are left to it, and not for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: a node looks every second; one that has not taken a build after so long does not want it
PATIENCE = 5.0


class LeftElsewhere:
    """Since when this node has left which build to another."""

    def __init__(self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is left."""
        self._patience = patience
        self._clock = clock
        self._since: dict[int, float] = {}

    def wait(self, build_id: int) -> bool:
        """Leave a build to another node; false once that has lasted too long."""
        now = self._clock()
        return now - self._since.setdefault(build_id, now) < self._patience

    def keep(self, waiting: Collection[int]) -> None:
        """Forget the builds that wait no more."""
        self._since = {build: since for build, since in self._since.items() if build in waiting}
