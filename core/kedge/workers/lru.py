"""A cache that is bounded by what its values cost."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Drops what was used least recently once all together cost more than `room`. One thread only."""

    def __init__(self, room: int) -> None:
        """Empty."""
        self._room = room
        self._used = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, which thereby counts as just used."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def peek(self, key: K) -> V | None:
        """The value, which counts as used no more than before."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: K, value: V, *, cost: int = 1) -> None:
        """Keep a value; one that costs more than all the room is kept until the next."""
        self.drop(key)
        self._values[key] = (value, cost)
        self._used += cost
        while self._used > self._room and len(self._values) > 1:
            _, (_, freed) = self._values.popitem(last=False)
            self._used -= freed

    def drop(self, key: K) -> None:
        """Forget a value; a missing one is no error."""
        found = self._values.pop(key, None)
        if found is not None:
            self._used -= found[1]

    def __iter__(self) -> Iterator[K]:
        """The keys, the least recently used first."""
        return iter(self._values)
