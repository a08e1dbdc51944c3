"""`[compute.process]`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from kedge import Limits, Size


class ProcessSettings(BaseModel):
    """What a build may use, and how many runners wait for one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warm: int = Field(
        default=1, ge=0, le=64, description="Single-use runners that wait for a job; 0 starts an interpreter."
    )
    untrusted: bool = Field(
        default=False,
        description="Run code from outside too, as from forks: with every right of Kedge's user.",
    )
    nice: int = Field(default=5, ge=0, le=19, description="How much builds give way to everything else.")
    memory: Size | None = Field(default=None, description="Memory of one build, where cgroups allow it.")
    processes: int | None = Field(default=None, ge=8, description="Processes of one build, likewise.")
    cpu: float | None = Field(
        default=None, gt=0, description="Processors that one build may keep busy, likewise."
    )
    open_files: int = Field(default=65536, ge=64, description="Open files of one process.")
    file_size: Size | None = Field(default=None, description="The largest file that a build may write.")
    workspaces: Path | None = Field(
        default=None, description="Where builds work; in the data dir if not set."
    )
    keep_workspaces: bool = Field(default=False, description="Leave workspaces behind, to look into.")

    @property
    def limits(self) -> Limits:
        """The most that one build gets."""
        return Limits(
            memory_bytes=self.memory,
            processes=self.processes,
            cpus=self.cpu,
            open_files=self.open_files,
            disk_bytes=self.file_size,
        )
