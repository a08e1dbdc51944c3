"""`[compute.docker]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kedge import Duration, Limits, SecretRef, Size
from kedge_docker.address import is_loopback

MIB = 1024**2
GIB = 1024**3
#: the network that Kedge makes for builds: its containers cannot reach each other
OWN_NETWORK = "kedge-builds"


def engine_address(text: str) -> str:
    """`text`, if it says where an engine may listen. Raises `ValueError`."""
    parts = urlsplit(text)
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return text
    if parts.scheme == "tcp" and parts.hostname and parts.port and not parts.path.strip("/"):
        return text
    raise ValueError('must be "unix:///path/to/docker.sock" or "tcp://host:port"')


def registry_host(text: str) -> str:
    """`text`, if images can begin with it. Raises `ValueError`."""
    if text != "localhost" and not re.fullmatch(r"[a-z0-9.-]+(\.[a-z0-9-]+|:[0-9]+)", text):
        raise ValueError(
            'must be the host of a registry as images name it, such as "registry.example.com:5000"'
        )
    return text


class TlsSettings(BaseModel):
    """`[compute.docker.tls]`: how an engine at `tcp://` is known, and how Kedge is known to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: Path = Field(description="The certificate that signed the engine's.")
    cert: Path = Field(description="The certificate of Kedge.")
    key: Path = Field(description="Its key.")


class RegistrySettings(BaseModel):
    """`[compute.docker.registries."HOST"]` and the same of `runtime`: who Kedge is to a registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: str = Field(min_length=1, description="Its user.")
    password: SecretRef = Field(description='"env:NAME" or "file:PATH"; a file is read anew for each pull.')


#: by the host of the registry, as images name it
RegistryTables = dict[Annotated[str, AfterValidator(registry_host)], RegistrySettings]


class DockerSettings(BaseModel):
    """Which engine, which image, and what a build may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: how its mistakes name it
    table: ClassVar[str] = "compute.docker"

    mode: Literal["containers", "swarm"] = Field(
        default="containers",
        description="Containers of this engine, or services on whatever node of its swarm has room.",
    )
    engine: Annotated[str, AfterValidator(engine_address)] = Field(
        default="unix:///var/run/docker.sock", description="Where the engine listens."
    )
    tls: TlsSettings | None = Field(default=None, description="For an engine at tcp://.")
    image: str = Field(default="kedge/build-image", min_length=1, description="The image that builds run in.")
    pull: Literal["never", "missing"] = Field(
        default="never", description="Whether an image that the engine does not have is pulled."
    )
    registries: RegistryTables = Field(
        default_factory=dict, description="Credentials for pulls, by the registry's host."
    )
    warm: int = Field(
        default=1, ge=0, le=64, description="Single-use containers that wait for a job; 0 for none."
    )
    memory: Size = Field(default=4 * GIB, ge=16 * MIB, description="Memory of one build, with no swap.")
    cpu: float | None = Field(
        default=None, gt=0, description="Processors that one build may keep busy; all if not given."
    )
    processes: int = Field(default=1024, ge=16, description="Processes and threads of one build.")
    open_files: int | None = Field(
        default=None, ge=64, description="Open files of one process; as the engine has it if not given."
    )
    disk: Size | None = Field(
        default=None,
        ge=16 * MIB,
        description="Size of the workspace, where the engine's disk has quotas or it is in memory.",
    )
    workspace: Literal["disk", "memory"] = Field(
        default="disk", description="What builds work on; memory counts against the memory of the build."
    )
    temporary: Size = Field(default=512 * MIB, ge=MIB, description="Size of /tmp, which is in memory.")
    user: str = Field(
        default="1000:1000",
        pattern=r"^[0-9]+:[0-9]+$",
        description="User and group that builds run as, by number.",
    )
    network: str = Field(
        default=OWN_NETWORK,
        min_length=1,
        description='Network of trusted builds: Kedge\'s own, "none", or the name of another.',
    )
    untrusted_network: str = Field(
        default="none", min_length=1, description="Network of builds of code from outside."
    )
    cluster: str = Field(
        default="kedge",
        pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$",
        description="In a swarm: whose services they are; each Kedge that shares it needs a name of its own.",
    )
    constraints: tuple[str, ...] = Field(
        default=(), description='In a swarm: which nodes may be used, such as "node.labels.builds==yes".'
    )
    location_label: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="In a swarm: the node label that holds the location which placement chose.",
    )
    stop_grace: Duration = Field(
        default=10.0, ge=0, description="In a swarm: time between asking a build to end and killing it."
    )
    runtime: str | None = Field(
        default=None,
        min_length=1,
        description='OCI runtime, such as "runsc"; the engine\'s own if not given.',
    )

    @property
    def limits(self) -> Limits:
        """The most that one build gets."""
        return Limits(
            memory_bytes=self.memory,
            processes=self.processes,
            cpus=self.cpu,
            open_files=self.open_files,
            disk_bytes=self.disk,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls is not None and not self.engine.startswith("tcp:"):
            raise ValueError("tls is for an engine at tcp://; take it away or set engine")
        if self.engine.startswith("tcp:") and self.tls is None and not is_loopback(self.engine):
            raise ValueError(
                "an engine on another machine needs [compute.docker.tls]: "
                "whoever reaches it without is root there"
            )
        if "host" in {self.network, self.untrusted_network}:
            raise ValueError('the network "host" would open every listener of the machine to builds')
        if self.workspace == "memory" and self.disk is None:
            raise ValueError("a workspace in memory needs a size: set disk")
        return self
