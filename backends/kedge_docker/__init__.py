"""Builds and deployed workers in containers of a Docker Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from kedge import Compute, Runtime


@hookimpl
def kedge_register_compute() -> list[type[Compute]]:
    """Offer the compute backend named `docker`."""
    from kedge_docker.compute import DockerCompute  # noqa: PLC0415  (only a node that uses it pays for it)

    return [DockerCompute]


@hookimpl
def kedge_register_runtime() -> list[type[Runtime]]:
    """Offer the runtime named `docker`."""
    from kedge_docker.runtime import DockerRuntime  # noqa: PLC0415  (as above)

    return [DockerRuntime]
