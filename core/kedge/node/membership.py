"""This node among the others of its database: shows that it lives, and does for builds what only it can."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from kedge.builds.buddy import BuildBuddy
from kedge.contracts.compute import Scope
from kedge.db.clock import keep_to, now_ms
from kedge.db.queries import nodes
from kedge.errors import CapacityUnavailable, ConfigError
from kedge.placement.build_places import machine_load
from kedge.placement.peers import Peer, address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedge.builds.services import BuildServices
    from kedge.db.tables import Attempt
    from kedge.objects import Objects
    from kedge.placement.control_plane import ControlPlane
    from kedge.placement.peers import Peers

log = structlog.get_logger("nodes")

NOT_SHARED = (
    "other nodes use this database ({}), so files have to be where all find them: "
    'set logs.use = "database", and blobs.use = "s3" or blobs.disk.folder'
)
BEAT_SECONDS = 1.0
#: a runner that has just reported its end gets this long to go by itself
SELF_MS = 2_000
#: for which attempts ended by others are looked for
LATELY_MS = 60_000
#: by which a clock is off
WORTH_SAYING_MS = 2_000


class Membership:
    """Where a node has its database for itself there is nothing to do."""

    def __init__(
        self,
        services: BuildServices,
        objects: Objects,
        peers: Peers,
        control_plane: ControlPlane,
        *,
        url: str,
        shares: bool,
    ) -> None:
        """`peers` and `control_plane` are told who is there, and others that this node is at `url`.

        `shares` tells whether other nodes see what this one keeps outside the database.
        """
        self._services = services
        self._objects = objects
        self._shares = shares
        self._peers = peers
        self._control_plane = control_plane
        node = services.settings.node
        self._name = node.name
        self._url = url
        self._looked_at: dict[tuple[str, int], int] = {}
        #: when all that others had ended was last seen to be stopped here
        self._looked_on: int | None = None
        self._ending: set[tuple[str, int]] = set()
        self._wake = asyncio.Event()

    async def open(self) -> None:
        """Join. Raises `ConfigError` if others are there and this node shares nothing with them."""
        services = self._services
        if not services.db.shared:
            return
        await self._beat()
        others = await self._others()
        if others and not self._shares:
            await self.close()
            raise ConfigError([NOT_SHARED.format(", ".join(sorted(others)))])

    async def close(self) -> None:
        """Leave: what this node was about to do is done by others."""
        if self._services.db.shared:
            await self._services.db.write_rows(nodes.leave, self._name)

    async def alone(self) -> bool:
        """Whether no other node is there."""
        return not self._services.db.shared or not await self._others()

    def look(self, _build_uuid: str) -> None:
        """Somebody wants a build on this node to end."""
        self._wake.set()

    async def run(self, every_time: Callable[[], None]) -> None:
        """Beat until cancelled, and call `every_time` with each beat."""
        while self._services.db.shared:
            await self._beat()
            if self._services.compute.scope is Scope.NODE:
                await self._end_cancelled()
                await self._stop_ended()
            every_time()
            self._wake.clear()
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _present(self) -> nodes.Present:
        """This node as others see it."""
        node = self._services.settings.node
        return nodes.Present(
            name=node.name,
            location=node.location,
            region=node.region,
            url=self._url,
            compute=self._services.compute.name,
            load=machine_load(),
            database_ms=self._control_plane.database_ms,
        )

    async def _beat(self) -> None:
        began = time.perf_counter()
        await self._services.db.read(nodes.ping)
        self._control_plane.measured((time.perf_counter() - began) * 1000)
        heard = self._services.liveness.news()
        asked_on = now_ms()
        now, gone = await self._services.db.write_rows(nodes.beat, self._present(), heard)
        changed = keep_to(now, asked_on=asked_on, answered_on=now_ms())
        if abs(changed) >= WORTH_SAYING_MS:
            log.warning("this machine's clock is not the database's, which counts", off_by_ms=-changed)
        for name in gone:
            log.warning("a node is gone", name=name)
        await self._others()

    async def _others(self) -> set[str]:
        """The names of the other nodes that are there, once their peers know them."""
        there = [one for one in await self._services.db.read(nodes.present) if one.name != self._name]
        self._control_plane.found((one.name, one.location, one.database_ms) for one in there)
        self._peers.found(
            Peer(name=one.name, location=one.location, region=one.region, address=address_of(one.url))
            for one in there
        )
        return {one.name for one in there}

    async def _end_cancelled(self) -> None:
        for attempt in await self._services.db.read(nodes.to_end, self._name):
            key = (attempt.build_uuid, attempt.number)
            if key not in self._ending:
                self._ending.add(key)
                self._services.background.start(self._end(attempt))

    async def _end(self, attempt: Attempt) -> None:
        try:
            assert attempt.compute_id is not None  # noqa: S101  (the query asks for those that have one)
            buddy = self._objects.get(BuildBuddy, attempt.build_uuid)
            await buddy.end_compute(attempt.number, attempt.compute_id)
        finally:
            self._ending.discard((attempt.build_uuid, attempt.number))

    async def _stop_ended(self) -> None:
        """Stop what still runs here of attempts that another node has ended."""
        now = now_ms()
        since = (self._looked_on or now) - LATELY_MS
        known = await self._services.db.read(nodes.ended, self._name, since)
        new = [one for one in known if (one.build_uuid, one.number) not in self._looked_at]
        due = [one for one in new if one.ended_on is not None and one.ended_on < now - SELF_MS]
        self._looked_at = {
            key: moment for key, moment in self._looked_at.items() if moment > now - 2 * LATELY_MS
        }
        try:
            if due:
                await self._stop(due)
        except CapacityUnavailable as error:
            log.debug("what other nodes have ended cannot be stopped yet", reason=str(error))
            return
        self._looked_at |= {(one.build_uuid, one.number): now for one in due}
        self._looked_on = now

    async def _stop(self, attempts: Sequence[Attempt]) -> None:
        compute = self._services.compute
        there = {one.compute_id for one in await compute.list()}
        for attempt in attempts:
            if attempt.compute_id in there:
                log.info("stopped for another node", build=attempt.build_uuid, attempt=attempt.number)
                await compute.stop(attempt.compute_id, grace=0)
                await compute.forget(attempt.compute_id)
