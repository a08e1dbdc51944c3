"""Many nodes' schedulers look at one queue at once: each build is started once, and limits hold."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from sqlmodel import col, func, select
from tests.core.api.conftest import URL, _registry
from tests.core.workers.conftest import _add_build, _add_worker

from kedge.builds.scheduler import Scheduler
from kedge.config import Settings
from kedge.db.bus import Bus
from kedge.db.engine import Database
from kedge.db.queries import queue
from kedge.db.tables import Attempt, Build, Worker
from kedge.node.parts import Parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from sqlmodel import Session

    from kedge.testing.postgresql import PostgreSQL

NODES, BUILDS, LIMIT = 4, 40, 3
PATIENCE = 60.0


class Racer:
    """A node's scheduler, which starts what it has claimed in name only."""

    def __init__(self, folder: Path, url: str, name: str, *, concurrency: int) -> None:
        values: dict[str, Any] = {
            "server": {"data_dir": folder},
            "node": {"name": name},
            "compute": {"use": "fake"},
            "forges": {"use": []},
            "builds": {"concurrency": concurrency},
        }
        self.db = Database(url)
        self.parts = Parts(Settings.model_validate(values), _registry(), self.db, Bus(self.db, name), URL)
        self.parts.builds.background.start = self._start  # type: ignore[method-assign]
        self.started = 0
        #: how many were ever seen running at once, on all nodes
        self.most = 0

    async def round(self) -> None:
        await self.parts.objects.get(Scheduler, Scheduler.ID).round()

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        self.started += 1
        work.close()

    async def race(self) -> None:
        """Look again and again and end what was started here, until nothing waits."""
        while await self.db.read(waiting):
            await self.round()
            self.most = max(self.most, await self.db.read(running))
            await self.db.write(end, self.parts.builds.settings.node.name)


def fill_queue(session: Session) -> None:
    """Previews: a build for production goes before them, whenever it comes."""
    _add_worker(session, "hello", "default")
    session.flush()
    push(session, BUILDS, is_production=False)


def push(session: Session, builds: int, *, is_production: bool) -> None:
    worker = session.exec(select(Worker.id)).one()
    for _ in range(builds):
        _add_build(session, worker, is_production=is_production)
    session.flush()
    session.execute(update(Build).where(col(Build.claimed_on).is_(None)).values(status="queued"))


def waiting(session: Session) -> int:
    return session.exec(select(func.count()).select_from(Build).where(Build.status == "queued")).one()


def running(session: Session) -> int:
    return session.exec(
        select(func.count()).select_from(Attempt).where(col(Attempt.ended_on).is_(None))
    ).one()


def end(session: Session, node: str) -> None:
    """What this node has started is done."""
    mine = (col(Attempt.node) == node, col(Attempt.ended_on).is_(None))
    builds = select(Attempt.build_uuid).where(*mine)
    session.execute(update(Build).where(col(Build.build_uuid).in_(builds)).values(status="stopped"))
    session.execute(update(Attempt).where(*mine).values(ended_on=1))


def attempts(session: Session) -> list[tuple[str, str]]:
    return [(one.build_uuid, one.node) for one in session.exec(select(Attempt))]


@pytest.fixture
async def url(postgresql_server: PostgreSQL) -> AsyncIterator[str]:
    with postgresql_server.migrated() as url:
        db = Database(url)
        await db.write(fill_queue)
        await db.close()
        yield url


@asynccontextmanager
async def racing(url: str, folder: Path, nodes: int) -> AsyncIterator[list[Racer]]:
    async with AsyncExitStack() as stack:
        racers = [Racer(folder, url, f"n{n}", concurrency=LIMIT) for n in range(nodes)]
        for racer in racers:
            stack.push_async_callback(racer.db.close)
            await racer.parts.membership._beat()
        yield racers


async def test_no_build_is_started_twice_and_no_limit_is_passed(url: str, tmp_path: Path) -> None:
    async with racing(url, tmp_path, NODES) as racers:
        await asyncio.gather(*(racer.race() for racer in racers))

        made = await racers[0].db.read(attempts)
    assert len(made) == BUILDS
    assert len({build for build, _ in made}) == BUILDS
    assert Counter(node for _, node in made) == Counter(
        {racer.parts.builds.settings.node.name: racer.started for racer in racers if racer.started}
    )
    assert 0 < max(racer.most for racer in racers) <= LIMIT


async def test_a_node_starts_nothing_by_what_it_saw_before_another_filled_the_limit(
    url: str, tmp_path: Path
) -> None:
    async with racing(url, tmp_path, 2) as (slow, quick):
        decide = slow.parts.builds.db.write

        async def write_late(*arguments: Any) -> Any:
            await quick.db.write(push, LIMIT, is_production=True)
            await quick.round()
            return await decide(*arguments)

        slow.parts.builds.db.write = write_late  # type: ignore[assignment, method-assign]
        await slow.round()

        assert (slow.started, quick.started) == (0, LIMIT)
        assert await quick.db.read(running) == LIMIT


def is_writer() -> bool:
    return threading.current_thread().name.startswith("kedge-db-writer")


async def test_a_limit_holds_though_another_node_fills_it_while_a_node_claims(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with racing(url, tmp_path, 2) as (slow, quick):
        loop, count = asyncio.get_running_loop(), queue.load
        interrupted: list[bool] = []

        async def fill() -> None:
            await quick.db.write(push, LIMIT, is_production=True)
            await quick.round()

        def count_and_wait(session: Session) -> queue.Load:
            found = count(session)
            claims = session.get_bind().engine.pool is slow.db.engine.pool and is_writer()
            if claims and not interrupted:
                # between the look at what runs and the claim, in one transaction
                interrupted.append(True)
                asyncio.run_coroutine_threadsafe(fill(), loop).result(PATIENCE)
            return found

        monkeypatch.setattr(queue, "load", count_and_wait)
        await slow.round()

        assert interrupted
        assert (slow.started, quick.started) == (0, LIMIT)
        assert await quick.db.read(running) == LIMIT
