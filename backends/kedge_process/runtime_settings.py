"""`[runtime.process]`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kedge import Size

Port = Annotated[int, Field(ge=1024, le=65535)]


class ProcessRuntimeSettings(BaseModel):
    """What an instance may use, and how it is started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str = Field(
        default="python3",
        min_length=1,
        description="The interpreter for ASGI applications; as builds have it, if not given.",
    )
    ports: tuple[Port, Port] = Field(
        default=(20000, 29999), description="First and last of the ports that instances listen on."
    )
    nice: int = Field(default=0, ge=0, le=19, description="How much instances give way to everything else.")
    memory: Size | None = Field(default=None, description="Memory of one instance, where cgroups allow it.")
    processes: int | None = Field(default=None, ge=8, description="Processes of one instance, likewise.")
    cpu: float | None = Field(
        default=None, gt=0, description="Processors that one instance may keep busy, likewise."
    )
    open_files: int = Field(default=65536, ge=64, description="Open files of one process.")
    file_size: Size | None = Field(default=None, description="The largest file that an instance may write.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ports[0] > self.ports[1]:
            raise ValueError("ports: the first must not be above the last")
        return self
