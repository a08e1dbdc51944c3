"""Removing a worker with everything that is its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kedge.contracts.log_store import LogKey
from kedge.db.clock import now_ms
from kedge.db.queries import workers as queries

if TYPE_CHECKING:
    from kedge.api.services import Services


async def remove_worker(services: Services, account_id: str, worker: str) -> str:
    """Remove a worker, by its name or tag, and return its tag. Raises `NotFound`.

    Its rules go first, so that nothing new is queued, its row last: what breaks off midway is finished by
    calling again.
    """
    found, triggers = await services.db.write(queries.retire_worker, account_id, worker, now_ms())
    tag = found.id
    await asyncio.gather(*(services.control.cancel_trigger(account_id, uuid) for uuid in triggers))
    for build_uuid, attempt in await services.db.read(queries.logs_of_worker, tag):
        await services.logs.store.delete(LogKey(log_id=build_uuid, part=attempt))
    await services.caches.purge(account_id, tag)
    if services.running is not None:
        await services.running.instances.end_worker(tag)
    await services.worker_logs.delete_of(tag)
    await services.db.write(queries.delete_worker, tag)
    services.deployments.tell(found.name)
    if services.running is not None:
        # requests may have started some meanwhile
        await services.running.instances.end_worker(tag)
    return tag
