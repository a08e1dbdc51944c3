"""Compute as child processes of this machine: the embedded default, for code that is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge import Compute


@hookimpl
def kedge_register_compute() -> Sequence[type[Compute]]:
    """Child processes."""
    from kedge_process.compute import ProcessCompute  # noqa: PLC0415  (loaded only if a config names it)

    return [ProcessCompute]
