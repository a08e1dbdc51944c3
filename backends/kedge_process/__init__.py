"""Builds and deployed workers as child processes of this machine: nothing to install, for code you trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from kedge import Compute, Runtime


@hookimpl
def kedge_register_compute() -> list[type[Compute]]:
    """Offer the compute backend named `process`."""
    from kedge_process.compute import ProcessCompute  # noqa: PLC0415  (only a node that uses it pays for it)

    return [ProcessCompute]


@hookimpl
def kedge_register_runtime() -> list[type[Runtime]]:
    """Offer the runtime named `process`."""
    from kedge_process.runtime import ProcessRuntime  # noqa: PLC0415  (as above)

    return [ProcessRuntime]
