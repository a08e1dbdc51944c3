"""`[runtime.docker]`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kedge import Limits, Size
from kedge_docker.settings import MIB, RegistryTables, TlsSettings, engine_address

#: the network that Kedge makes for instances: its containers cannot reach each other
OWN_NETWORK = "kedge-workers"


class DockerRuntimeSettings(BaseModel):
    """Which engine, which image, and what an instance may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: how its mistakes name it
    table: ClassVar[str] = "runtime.docker"

    engine: Annotated[str, AfterValidator(engine_address)] = Field(
        default="unix:///var/run/docker.sock", description="Where the engine of this machine listens."
    )
    image: str = Field(
        default="kedge/build-image",
        min_length=1,
        description="The image that workers of the kinds asgi and command run in: where they were built.",
    )
    pull: Literal["never", "missing"] = Field(
        default="never",
        description="Whether an image that the engine does not have is pulled.",
    )
    registries: RegistryTables = Field(
        default_factory=dict, description="Credentials for pulls, by the registry's host."
    )
    memory: Size = Field(default=512 * MIB, ge=16 * MIB, description="Memory of one instance, with no swap.")
    cpu: float | None = Field(
        default=None, gt=0, description="Processors that one instance may keep busy; all if not given."
    )
    processes: int = Field(default=512, ge=8, description="Processes and threads of one instance.")
    open_files: int | None = Field(
        default=None, ge=64, description="Open files of one process; as the engine has it if not given."
    )
    temporary: Size = Field(default=128 * MIB, ge=MIB, description="Size of /tmp, which is in memory.")
    user: str = Field(
        default="1000:1000",
        pattern=r"^[0-9]+:[0-9]+$",
        description="User and group of asgi and command, by number; images have their own.",
    )
    network: str = Field(
        default=OWN_NETWORK, min_length=1, description="Kedge's own network, or the name of another bridge."
    )
    egress_port: int = Field(
        default=0,
        ge=0,
        lt=65536,
        description="Port at the network's gateway where instances find the egress proxy; 0 for a free one.",
    )
    runtime: str | None = Field(
        default=None,
        min_length=1,
        description='OCI runtime, such as "runsc"; the engine\'s own if not given.',
    )

    @property
    def tls(self) -> TlsSettings | None:
        """None: instances are reached, and their files mounted, on this machine alone."""
        return None

    @property
    def limits(self) -> Limits:
        """The most that one instance gets."""
        return Limits(
            memory_bytes=self.memory,
            processes=self.processes,
            cpus=self.cpu,
            open_files=self.open_files,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.engine.startswith("unix:"):
            raise ValueError("engine must be a socket of this machine: files of versions are mounted from it")
        if self.network in {"host", "none"}:
            raise ValueError(f"an instance in the network {self.network!r} cannot be reached by itself")
        return self
