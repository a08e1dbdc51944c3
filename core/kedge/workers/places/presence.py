"""Which of the other nodes answer, and who waits for one of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.placement.peers import Peer


class PeerGone(KedgeError):
    """A node fell silent while something waited for it."""

    code = 12095
    status = 502


class Presence:
    """Kept by the exchange, which hears from each peer every few seconds. One event loop."""

    def __init__(self) -> None:
        """Nobody was heard yet."""
        #: the names of the peers that answer
        self.there: set[str] = set()
        self._waiting: dict[str, set[asyncio.Timeout]] = {}

    def found(self, peer: Peer) -> bool:
        """A peer answers. Whether it did not before."""
        before = len(self.there)
        self.there.add(peer.name)
        return len(self.there) > before

    def lost(self, peer: Peer) -> bool:
        """A peer failed: nothing new is asked of it until it answers. Whether it answered before."""
        before = len(self.there)
        self.there.discard(peer.name)
        return len(self.there) < before

    def gone(self, peer: Peer) -> bool:
        """A peer is not heard of any more: who waits for it waits no longer. Whether it answered before."""
        now = asyncio.get_running_loop().time()
        for patience in self._waiting.pop(peer.name, ()):
            patience.reschedule(now)
        return self.lost(peer)

    @asynccontextmanager
    async def waiting_for(self, peer: Peer) -> AsyncIterator[None]:
        """Wait inside for what a peer says; raises `PeerGone` out of there when it is gone."""
        waiting = self._waiting.setdefault(peer.name, set())
        patience = asyncio.timeout(None)
        waiting.add(patience)
        try:
            async with patience:
                yield
        except TimeoutError:
            if not patience.expired():
                raise
            raise PeerGone(f"node {peer.name} is not heard of any more") from None
        finally:
            waiting.discard(patience)
