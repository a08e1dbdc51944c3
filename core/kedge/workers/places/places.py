"""All that a node has of other locations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from kedge.placement.cluster_key import FORWARD

if TYPE_CHECKING:
    import ssl
    from collections.abc import Container

    from starlette.types import Scope

    from kedge.placement.cluster_key import ClusterKey, Forwarded
    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.egress.proxy import EgressProxy
    from kedge.workers.places.exchange import Exchange
    from kedge.workers.places.forwarding import Forwarding
    from kedge.workers.places.memory import PlacementMemory
    from kedge.workers.places.placing import Place, Placing
    from kedge.workers.places.prober import Prober
    from kedge.workers.sites import Site


@dataclass(frozen=True, kw_only=True)
class Places:
    """Without peers `key`, `exchange` and `forwarding` are `None`; without a policy `egress` is."""

    placing: Placing
    memory: PlacementMemory
    prober: Prober
    ledger: Ledger
    egress: EgressProxy | None
    key: ClusterKey | None
    exchange: Exchange | None
    forwarding: Forwarding | None
    #: whom to believe that it is a node at an `https://` address
    tls: ssl.SSLContext | None = None

    def heard(self, scope: Scope) -> Forwarded | None:
        """What another node says of a request that it passed on; `None` for a visitor's own.

        Raises `WrongMoment`.
        """
        return None if self.forwarding is None else self.forwarding.heard(scope)

    def may_be_passed_on(self, names: Container[bytes]) -> bool:
        """Whether another node may have passed on a request of such headers; `heard` tells."""
        return self.forwarding is not None and FORWARD in names

    def choose(self, site: Site, path: bytes) -> Place | None:
        """Where a request for a version that has a wish runs; `None` for here, as any without one.

        `path` is that of its target, as it was written.
        """
        return self.placing.lasting.get((site.serving.version_id, path)) or self._choose(site, path)

    def _choose(self, site: Site, path: bytes) -> Place | None:
        serving = site.serving
        if serving.percentage == 100:
            self.placing.seen(serving.worker_id, serving.version_id)
        place = self.placing.choose(serving.worker_id, site.wish, unquote(path.decode("latin-1")))
        if place is not None:
            self.placing.keep(serving.version_id, path, place)
        return place

    def environment(self, instance_id: str) -> dict[str, str]:
        """What an instance finds in its environment, so that what it asks is measured."""
        return {} if self.egress is None else self.egress.environment(instance_id)

    async def open(self) -> None:
        """Know what was known, and listen for what workers ask."""
        await self.memory.open()
        if self.egress is not None:
            await self.egress.open()

    async def run(self) -> None:
        """Measure, decide and keep, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.placing.run())
            group.create_task(self.memory.run())

    async def close(self) -> None:
        """End every connection, and keep what was learnt."""
        if self.exchange is not None:
            self.exchange.close()
        if self.egress is not None:
            await self.egress.close()
        await self.memory.keep()
