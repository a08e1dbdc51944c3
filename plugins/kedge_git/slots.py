"""Who may have git run for them, and how long the others wait."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kedge_git.calls import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge import Principal

#: calls that work or wait, for each slot
_LINE = 4
_RETRY_AFTER = "10"


class Slots:
    """`count` calls at a time, of which one caller has half at most; a few others wait for `within` seconds.

    For one event loop.
    """

    def __init__(self, count: int, within: float) -> None:
        """All are free."""
        self._within = within
        self._all = _Line(count)
        self._share = max(count // 2, 1)
        #: kept for as long as one of the caller's calls works or waits
        self._callers: WeakValueDictionary[Principal, _Line] = WeakValueDictionary()

    async def take(self, caller: Principal) -> ExitStack:
        """Wait for a slot, which closing what is returned gives back. Raises `Refused` if that takes long."""
        own = self._callers.setdefault(caller, _Line(self._share))
        with ExitStack() as slot:
            try:
                async with asyncio.timeout(self._within):
                    for line in (own, self._all):
                        slot.enter_context(line.entered())
                        await line.slots.acquire()
                        slot.callback(line.slots.release)
            except TimeoutError:
                raise _busy() from None
            return slot.pop_all()


class _Line:
    """Calls that share slots."""

    def __init__(self, count: int) -> None:
        self.slots = asyncio.Semaphore(count)
        self._room = count * _LINE

    @contextmanager
    def entered(self) -> Iterator[None]:
        if not self._room:
            raise _busy()
        self._room -= 1
        try:
            yield
        finally:
            self._room += 1


def _busy() -> Refused:
    return Refused(
        503,
        "too much is asked of the repositories of this node now; try again in a moment",
        {"Retry-After": _RETRY_AFTER},
    )
