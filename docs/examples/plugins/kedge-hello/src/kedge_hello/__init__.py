"""Runs builds as child processes, and says hello when they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from kedge import BuildEvent, Compute, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger("hello")


@hookimpl
def kedge_register_compute() -> Sequence[type[Compute]]:
    """Offer the compute backend that `[compute] use = "hello"` chooses."""
    from kedge_hello.compute import HelloCompute  # only a node that uses it pays for it

    return [HelloCompute]


@hookimpl
def kedge_build_stopped(build: BuildEvent) -> None:
    """Say hello to whoever reads the log."""
    log.info("hello", worker=build.worker, build=build.build_uuid, outcome=build.outcome)
