"""Builds as tasks of AWS ECS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from kedge import Compute


@hookimpl
def kedge_register_compute() -> list[type[Compute]]:
    """Offer the compute backend named `ecs`."""
    from kedge_ecs.compute import EcsCompute  # noqa: PLC0415  (only a node that uses it pays for boto3)

    return [EcsCompute]
