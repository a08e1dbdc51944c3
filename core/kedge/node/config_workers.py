"""Makes the workers that the node's own config file names, by the door that everybody uses."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from kedge.apply import plan
from kedge.client import find_server
from kedge.errors import KedgeError
from kedge.node.first_start import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from kedge.config import Settings

log = structlog.get_logger("config_workers")


async def apply_workers(settings: Settings, url: str) -> None:
    """Apply `[workers.NAME]`; nothing is pruned. What is wrong is logged, and the node goes on."""
    if not settings.workers:
        return
    try:
        await asyncio.to_thread(_apply, settings, url)
    except KedgeError as error:
        log.error("workers of the config file were not applied", reason=str(error))  # noqa: TRY400


def _apply(settings: Settings, url: str) -> None:
    server = find_server(url, None, DEFAULT_ACCOUNT, settings.server.data_dir)
    changes = plan(server, settings.workers, base_dir=settings.base_dir, environ=os.environ)
    for change in changes:
        change.carry_out()
        log.info("applied", action=change.action, what=change.what)
