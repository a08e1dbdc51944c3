"""Connections to the proxy, and whose they are."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

#: of nobody that is known yet
MOST_STRANGERS = 256
MOST_OF_ONE = 512
MOST = 4096


class Guest(Protocol):
    """One connection."""

    def break_off(self) -> None:
        """End now."""
        ...


class Guests:
    """Counts them: no instance takes those of the others, and whoever shows no credentials takes none."""

    def __init__(self) -> None:
        """None yet."""
        self._strangers: dict[Guest, None] = {}
        self._known: dict[Guest, str] = {}
        self._of: Counter[str] = Counter()

    def came(self, guest: Guest) -> None:
        """It has not said yet whose it is. Of too many such, the one that came first is ended."""
        self._strangers[guest] = None
        if len(self._strangers) > MOST_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.break_off()

    def know(self, guest: Guest, instance_id: str) -> bool:
        """It is this instance's. False if that has too many, or all together have."""
        if guest in self._known:
            return True
        if len(self._known) >= MOST or self._of[instance_id] >= MOST_OF_ONE:
            return False
        self._strangers.pop(guest, None)
        self._known[guest] = instance_id
        self._of[instance_id] += 1
        return True

    def went(self, guest: Guest) -> None:
        """It is over."""
        self._strangers.pop(guest, None)
        instance_id = self._known.pop(guest, None)
        if instance_id is not None:
            self._of[instance_id] -= 1
            if not self._of[instance_id]:
                del self._of[instance_id]
