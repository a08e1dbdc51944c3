"""Programs under supervisors: the way of builds, used for anything else that listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kedge import ComputeRequest
from kedge_process.compute import ProcessCompute
from kedge_process.plan import RunnerCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge import Host
    from kedge_process.settings import ProcessSettings

TRUSTED = (
    "workers run on this machine as the user of Kedge, with no wall between: use this runtime for code that "
    "you trust, and a container runtime for any other"
)


@dataclass(frozen=True, kw_only=True)
class Program(ComputeRequest):
    """A program to start. `output` is a FIFO."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    #: to start in; without one, an empty folder of its own
    directory: Path | None
    output: Path

    def assignment(
        self, workspace: str, *, endpoint: str | None = None, relay: bool = False
    ) -> dict[str, Any]:
        """What `guard.program` reads: it calls nobody."""
        return {
            "workspace": workspace,
            "arguments": self.arguments,
            "environment": {"HOME": workspace, "TMPDIR": workspace, **self.environment},
            "directory": str(self.directory or workspace),
            "output": str(self.output),
        }


class Programs(ProcessCompute):
    """Starts programs, each as an attempt of its own."""

    warning: ClassVar[str] = TRUSTED
    too_large: ClassVar[str] = "variables and secrets are too large: all together they may have 60 KiB"

    def __init__(self, settings: ProcessSettings, host: Host) -> None:
        """Start programs instead of runners."""
        # the fork server is of the package `guard`, and finds the module there; what a node serves is of no
        # use without it
        folder = str(Path(__file__).parent)
        code = RunnerCode(folder=folder, module="guard.program", outlives_kedge=False)
        super().__init__(settings, host, runner=code)

    async def end_all(self) -> None:
        """End every program, those of an earlier node too."""
        for status in await self.list():
            await self.end(status.compute_id)

    async def end(self, compute_id: str) -> None:
        """End one, and leave nothing of it."""
        await self.stop(compute_id, grace=0)
        await self.forget(compute_id)
