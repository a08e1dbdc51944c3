"""What placement learnt is kept in the database: for the next start, and for whoever asks another node.

Requests are placed from memory alone; nothing here is in their way.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import structlog

from kedge.db.clock import now_ms
from kedge.db.queries import placement as queries
from kedge.errors import InvalidInput
from kedge.workers.places.durations import MOST_WORKERS

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.db.engine import Database
    from kedge.workers.places.placing import Placing

log = structlog.get_logger("placement")

#: a decision is kept at once, what is learnt beside now and then
KEEP_SECONDS = 30.0
#: candidates of an explanation that other nodes can show
SHOWN = 8


class PlacementMemory:
    """One for a node; nodes of one location keep the same rows, and the latest counts."""

    def __init__(self, db: Database, placing: Placing, *, every: float = KEEP_SECONDS) -> None:
        """Nothing is read or written yet."""
        self._db = db
        self._placing = placing
        self._every = every

    async def open(self) -> None:
        """Know again what was known at this location."""
        now = now_ms()
        for way in await self._db.read(queries.remembered_ways, now=now):
            self._placing.measured(way.source, way.target, way.rtt_ms)
        rows = await self._db.read(queries.remembered, self._placing.here, limit=MOST_WORKERS)
        for row in rows:
            # a clock that was set back must not make it younger than it is
            age = max(now - row.modified_on, 0) / 1000
            try:
                self._placing.restore(row.worker_id, row.version_id, row.state, age=age)
            except InvalidInput as error:
                log.warning("placement_forgotten", worker=row.worker_id, reason=str(error))

    async def run(self) -> None:
        """Keep what is learnt, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._placing.decided.wait()
            self._placing.decided.clear()
            await self.keep()

    async def keep(self) -> None:
        """Keep what was learnt since the last call."""
        known = {worker: self._row(worker) for worker in self._placing.take_touched()}
        ways = self._placing.ways_from_here()
        if known or ways:
            await self._db.write(_keep, self._placing.here, known, ways)

    async def explain(self, worker_id: str) -> list[dict[str, Any]]:
        """Why a worker's requests run where they run: those that come in here, and at other locations."""
        here = [asdict(one) for one in self._placing.explain(worker_id)]
        rows = await self._db.read(queries.of_worker, worker_id)
        elsewhere = [one for row in rows if row.location != self._placing.here for one in row.explanation]
        return [*here, *elsewhere]

    def _row(self, worker_id: str) -> dict[str, Any] | None:
        state = self._placing.dump(worker_id)
        if state is None:
            return None
        shown = [
            asdict(replace(one, candidates=one.candidates[:SHOWN]))
            for one in self._placing.explain(worker_id)
        ]
        return {"version_id": self._placing.version_of(worker_id), "state": state, "explanation": shown}


def _keep(
    session: Session, location: str, known: dict[str, dict[str, Any] | None], ways: dict[str, float]
) -> None:
    now = now_ms()
    queries.remember(session, location, known, now=now)
    queries.remember_ways(session, location, ways, now=now)
