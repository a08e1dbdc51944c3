"""The instances of deployed versions on this node, lent to requests."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from kedge.config.settings import RuntimeSettings
    from kedge.errors import InstanceFailed
    from kedge.workers.pool import Member, Starter
    from kedge.workers.runnable import Runnable


class Lease:
    """An instance for one request, until the request ends."""

    def __init__(self, member: Member, pool: Pool) -> None:
        """It counts as a request in flight already."""
        self._member = member
        self._pool = pool
        instance = member.instance
        #: where the instance listens: `host:port`, or `unix:/path`
        self.address = instance.address
        #: which instance it is
        self.instance_id = instance.instance_id

    @property
    def version_id(self) -> str:
        """Of which version the instance is."""
        return self._pool.runnable.version_id

    @property
    def draining(self) -> bool:
        """Whether the instance is about to go: a connection to it is not worth keeping."""
        return self._member.leaving.is_set()

    def end(self) -> None:
        """The request has ended."""
        self._pool.give_back(self._member)

    def lose(self) -> None:
        """Nobody listens there any more: the next lease is of another instance."""
        self._pool.lose(self._member)

    async def ends_within(self, seconds: float) -> bool:
        """Whether the instance is about to go by then, or has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.drains()
        return self.draining

    def keep(self, seconds: float) -> None:
        """The instance goes on with the request for so long, whenever the answer ends."""
        self._member.take()
        asyncio.get_running_loop().call_later(seconds, self._pool.give_back, self._member)

    async def drains(self) -> None:
        """Return once the instance is about to go, or has ended: long-lived connections should end."""
        await self._member.leaving.wait()


class _Lending:
    """What `async with` makes of a lease; every request goes through it, and so it is no generator."""

    __slots__ = ("_instances", "_lease", "_version_id")

    def __init__(self, instances: Instances, version_id: str) -> None:
        self._instances = instances
        self._version_id = version_id

    async def __aenter__(self) -> Lease:
        pool = await self._instances.pool(self._version_id)
        self._lease = Lease(await pool.take(), pool)
        return self._lease

    async def __aexit__(self, *_: object) -> None:
        self._lease.end()


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """How the instances of a version stand."""

    version_id: str
    ready: int
    starting: int
    in_flight: int
    failure: InstanceFailed | None


class Instances:
    """Starts instances when requests come, and ends them when none come any more."""

    def __init__(
        self, starter: Starter, load: Callable[[str], Awaitable[Runnable]], settings: RuntimeSettings
    ) -> None:
        """`load` looks a version up by its id. Raises `NotFound`, or `Conflict` for one that cannot run."""
        self._starter = starter
        self._load = load
        self._settings = settings
        self._pools: dict[str, Pool] = {}
        self._loading: dict[str, asyncio.Task[Pool]] = {}
        self._closed = False

    def lease(self, version_id: str) -> AbstractAsyncContextManager[Lease]:
        """An instance of the version, counted as busy with one request more until the block is left.

        The first request starts one, and waits until it answers. Raises `InstanceFailed` if none starts,
        with what was seen of the last one, and `Overloaded` if all are busy and too many wait already, or
        none became free in time.
        """
        return _Lending(self, version_id)

    def at_hand(self, version_id: str) -> Pool | None:
        """The pool of a version, if there is one."""
        return self._pools.get(version_id)

    async def pool(self, version_id: str) -> Pool:
        """The pool of a version, made if there is none yet. Raises as `load` does."""
        return self._pools.get(version_id) or await self._pool(version_id)

    async def warm(self, version_id: str, count: int = 1) -> bool:
        """Return once so many instances of the version answer, or as many as there may be.

        They are kept for `start_timeout` even if nobody asks. Whether any was still to come. Raises
        `InstanceFailed` if none answers, `Overloaded` if this node stops, and as `load` does.
        """
        return await (await self.pool(version_id)).warm(count)

    def ready(self, version_id: str) -> int:
        """How many instances of the version answer."""
        pool = self._pools.get(version_id)
        return 0 if pool is None else len(pool.members)

    def drain(self, version_id: str) -> None:
        """The version serves no more: its instances end when their requests have ended."""
        pool = self._pools.get(version_id)
        if pool is not None:
            pool.drain()

    def state(self, version_id: str) -> PoolState | None:
        """How the version's instances stand on this node; `None` if there have been none of late."""
        pool = self._pools.get(version_id)
        if pool is None:
            return None
        return PoolState(
            version_id=version_id,
            ready=len(pool.members),
            starting=pool.starting,
            in_flight=sum(member.in_flight for member in pool.members),
            failure=pool.failure,
        )

    @property
    def versions(self) -> dict[str, str]:
        """The versions that have had instances here of late, each with its worker's id."""
        return {version_id: pool.runnable.worker_id for version_id, pool in self._pools.items()}

    @property
    def workers(self) -> dict[str, str]:
        """The workers that have had instances here of late: id → name."""
        return {pool.runnable.worker_id: pool.runnable.worker for pool in self._pools.values()}

    def of_worker(self, worker_id: str) -> list[Pool]:
        """The pools of a worker's versions on this node."""
        return [pool for pool in self._pools.values() if pool.runnable.worker_id == worker_id]

    async def end_worker(self, worker_id: str) -> None:
        """The worker is removed: end its instances at once."""
        pools = self.of_worker(worker_id)
        for pool in pools:
            self._pools.pop(pool.runnable.version_id, None)
        await asyncio.gather(*[pool.close() for pool in pools])

    async def close(self) -> None:
        """End every instance."""
        self._closed = True
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*[pool.close() for pool in self._pools.values()])
        self._pools.clear()

    async def _pool(self, version_id: str) -> Pool:
        """The pool of a version. Concurrent calls look it up once."""
        task = self._loading.get(version_id)
        if task is None:
            task = self._loading[version_id] = asyncio.create_task(self._make(version_id))
            task.add_done_callback(lambda _: self._loading.pop(version_id, None))
        pool = await asyncio.shield(task)
        # it may have been found empty, and dropped, before this call went on
        return self._pools.setdefault(version_id, pool)

    async def _make(self, version_id: str) -> Pool:
        pool = Pool(await self._load(version_id), self._starter, self._settings)
        for stale in [one for one, pool in self._pools.items() if pool.empty]:
            del self._pools[stale]
        self._pools[version_id] = pool
        return pool
