"""Every setting of a node, with its default. The file `configs/local.toml` shows them all."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
)

from kedge.config.checked import (
    NAME,
    DatabaseUrl,
    Domain,
    Folder,
    Listen,
    Name,
    Names,
    Network,
    PeerUrl,
    PluginName,
    Positive,
    PublicUrl,
    Region,
    Target,
)
from kedge.config.references import SecretRef  # noqa: TC001  (pydantic reads it)
from kedge.config.sources import Sources
from kedge.config.units import Duration, Size
from kedge.config.workers import Table, WorkerName, WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where a node keeps its files if nobody says: `$XDG_DATA_HOME/kedge` or `~/.local/share/kedge`."""
    shared = environ.get("XDG_DATA_HOME", "")
    if Path(shared).is_absolute():
        return Path(shared) / "kedge"
    home = environ.get("HOME") or str(Path.home())
    return Path(home) / ".local" / "share" / "kedge"


def _default_node_name() -> str:
    name = socket.gethostname()
    return name if NAME.fullmatch(name) else "node"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class WithTables(BaseModel):
    """A section with one table per backend, `[compute.process]`; the chosen backend checks its own."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    # pydantic's own way to say what type unknown keys have
    __pydantic_extra__: dict[str, dict[str, Any]] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        init=False
    )

    def table(self, name: str) -> dict[str, Any]:
        """The table of one backend, as it was written; empty if there is none."""
        return dict(self.__pydantic_extra__.get(name, {}))

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of all the tables that were written."""
        return tuple(self.__pydantic_extra__)


class ServerSettings(Table):
    """`[server]`: where the node listens, and where it keeps what is its own."""

    listen: Listen = Field(default="127.0.0.1:8787", description="Address and port; port 0 takes a free one.")
    data_dir: Folder = Field(
        default_factory=default_data_dir,
        description="Folder for database, logs, repositories and keys. Also KEDGE_DATA_DIR.",
    )
    secret_key: SecretRef | None = Field(
        default=None,
        description="The key for stored secrets, the same on all nodes; a file of the data dir if not given.",
    )
    domain: Domain = Field(default="localhost", description="Workers are served at NAME.domain.")
    public_url: PublicUrl | None = Field(
        default=None, description="Where users reach Kedge, if not at the address it listens on."
    )
    drain_timeout: Annotated[Duration, Field(ge=0)] = Field(
        default=3.0, description="Time for answers that are being given to end when the node stops."
    )

    @field_validator("public_url")
    @classmethod
    def _outside_the_domain(cls, url: str | None, info: ValidationInfo) -> str | None:
        domain = info.data.get("domain")
        host = urlsplit(url or "").hostname or ""
        if domain is not None and host.rstrip(".").endswith(f".{domain}"):
            raise ValueError(
                f"lies below server.domain ({domain}), where every host is a worker's and none is Kedge's: "
                f"use {domain} itself or a host outside of it, or give server.domain a domain of its own"
            )
        return url


class NodeSettings(Table):
    """`[node]`: who this node is among others."""

    name: Name = Field(
        default_factory=_default_node_name, description="Unique among nodes; the machine's name if not given."
    )
    location: Name = Field(default="local", description="The named place that this node is in.")
    region: Region | None = Field(
        default=None, description="That place as a provider calls it, such as aws:eu-central-1."
    )
    url: PeerUrl | None = Field(
        default=None,
        description="Where the other nodes of its database reach this one, as http(s)://HOST:PORT; "
        "found out if not given.",
    )
    cluster_key: SecretRef | None = Field(
        default=None,
        description="By which nodes know each other; the same on all of them. Nodes of one PostgreSQL "
        "need none.",
    )
    peers_ca: SecretRef | None = Field(
        default=None,
        description="Certificates in PEM by which nodes at https:// addresses are believed, such as "
        "file:ca.pem; those that the system trusts if not given.",
    )


class PeerSettings(Table):
    """`[peers.NAME]`: another node, to which requests may be passed on."""

    url: PeerUrl = Field(description="Where this node reaches it.")
    location: Name = Field(description="The named place that it is in.")
    region: Region | None = Field(default=None, description="That place as a provider calls it.")


class EgressSettings(Table):
    """`[egress]`: what workers may ask of others, through the node's own proxy."""

    allow: tuple[Target, ...] = Field(
        default=(),
        description="What workers may reach of this machine, by name or address, as HOST:PORT or HOST:*.",
    )
    connect_to: dict[Target, str] = Field(
        default_factory=dict, description="Where a HOST:PORT is found from this location."
    )


class BuildSettings(Table):
    """`[builds]`: limits of every build. Times are numbers of seconds, or texts such as "20 min"."""

    concurrency: int = Field(default=6, ge=1, description="Builds that one account runs at once.")
    start_timeout: Positive = Field(default=60.0, description="Time for a runner to report in.")
    silence_timeout: Positive = Field(default=60.0, description="A runner silent for so long counts as lost.")
    timeout: Positive = Field(default=1200.0, description="The longest that a build may run.")
    infrastructure_retries: int = Field(
        default=2,
        ge=0,
        le=10,
        description="New attempts after a failure of the platform, never of a command.",
    )
    cache_retention: Positive = Field(
        default=7 * 24 * 3600.0, description="A build cache that was not read for so long is removed."
    )
    cache_limit: Annotated[Size, Field(gt=0)] = Field(
        default=10 * 1000**3,
        description="Build caches that one worker keeps; what was read least recently goes first.",
    )
    stop_grace: Annotated[Duration, Field(ge=0)] = Field(
        default=5.0, description="Time between asking a build to stop and killing it."
    )


class ComputeSettings(WithTables):
    """`[compute]`: where builds run."""

    use: PluginName = Field(default="process", description="The compute backend.")


class RuntimeSettings(WithTables):
    """`[runtime]`: where deployed workers run, and how many instances of them."""

    use: PluginName | None = Field(
        default=None, description="The runtime; what builds run on, if not given and it has one."
    )
    start_timeout: Positive = Field(
        default=30.0, description="Time for a new instance to answer its first request."
    )
    idle_timeout: Positive = Field(
        default=300.0, description="An instance that served nothing for so long is ended."
    )
    stop_grace: Annotated[Duration, Field(ge=0)] = Field(
        default=10.0, description="Time between asking an instance to end and killing it."
    )
    drain_timeout: Positive = Field(
        default=60.0, description="Time for requests in flight to end once a version no longer serves."
    )
    concurrency: int = Field(
        default=50, ge=1, le=10_000, description="Requests that one instance works on at once."
    )
    max_instances: int = Field(default=4, ge=1, le=1000, description="Instances of one version on this node.")
    queue: int = Field(default=200, ge=0, description="Requests of one version that wait for an instance.")
    queue_timeout: Positive = Field(default=60.0, description="The longest that a request waits for one.")
    wait_until: Annotated[Duration, Field(ge=0)] = Field(
        default=30.0, description="The longest that an instance may go on with a request after its answer."
    )


class BlobSettings(WithTables):
    """`[blobs]`: where files are kept."""

    use: PluginName = Field(default="disk", description="The blob store.")


class LogSettings(WithTables):
    """`[logs]`: where build logs are kept."""

    use: PluginName = Field(default="disk", description="The log store.")


class ForgeSettings(WithTables):
    """`[forges]`: where repositories live."""

    use: Names = Field(default=("git",), description="The forges, each by its name.")


class PlacementSettings(WithTables):
    """`[placement]`: which location a build runs in."""

    chain: Names = Field(
        default=("capacity",),
        description="The strategies, asked in this order; the last one's order counts most.",
    )


class RequestSettings(WithTables):
    """`[requests]`: which location a request of a worker runs in."""

    use: PluginName | None = Field(
        default=None, description="The policy for workers that ask to be placed; without one none is."
    )
    exchange: Positive = Field(
        default=2.0, description="Time between two exchanges of measurements with another node."
    )
    silence: Positive = Field(
        default=3.0, description="A node that does not answer an exchange for so long counts as gone."
    )


class RetentionSettings(Table):
    """`[retention]`: which versions are kept. What serves, or has an alias, always is."""

    versions: int = Field(default=100, ge=1, description="Newest versions of each worker that are kept.")
    versions_for: Annotated[Duration, Field(ge=0)] = Field(
        default=30 * 24 * 3600.0, description="Every version is kept for so long."
    )
    deployments: int = Field(
        default=10, ge=1, description="Latest deployments of each worker whose versions are kept."
    )


class GatewaySettings(Table):
    """`[gateway]`: what a request may take, and whom to believe where it comes from."""

    head: Annotated[Size, Field(gt=0)] = Field(
        default=32 * 1024, description="The most that a request's line and headers may have, of any request."
    )
    head_within: Positive = Field(
        default=30.0, description="Time for them to come, from the first byte to the last."
    )
    stalled: Positive = Field(
        default=60.0,
        description="Time for another kilobyte of a request to come, and of an answer to be taken: a visitor "
        "who is slower than that is left, of the API and of workers alike.",
    )
    connections: Annotated[int, Field(gt=0)] = Field(
        default=8192, description="The most connections that visitors may have open, in all."
    )
    connections_of_one: Annotated[int, Field(gt=0)] = Field(
        default=1024, description="The most of one address, unless it is a trusted proxy's."
    )
    first_byte: Positive = Field(default=60.0, description="Time for a worker to begin its answer.")
    idle: Positive = Field(
        default=300.0, description="The longest silence within an answer; a stream says something before."
    )
    body: Annotated[Size, Field(gt=0)] = Field(
        default=100 * 1024**2, description="The most that a request may send."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Networks of proxies before Kedge, such as 10.0.0.0/8: what they say of a visitor in "
        "X-Forwarded-For, X-Forwarded-Proto and X-Request-Id is believed.",
    )


class LoggingSettings(Table):
    """`[logging]`: what Kedge writes about itself."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto is console on a terminal and json elsewhere."
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="The least level that is written."
    )


class Settings(Table):
    """All settings of a node. Made by `load`; `Settings()` holds the defaults."""

    database: DatabaseUrl = Field(
        default="sqlite", repr=False, description='"sqlite" for a file in the data dir, or a URL.'
    )
    plugins: Names = Field(
        default=("tagged",), description="Plugins to load beside the backends that are named below."
    )
    server: ServerSettings = Field(default_factory=ServerSettings)
    node: NodeSettings = Field(default_factory=NodeSettings)
    builds: BuildSettings = Field(default_factory=BuildSettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)
    blobs: BlobSettings = Field(default_factory=BlobSettings)
    logs: LogSettings = Field(default_factory=LogSettings)
    forges: ForgeSettings = Field(default_factory=ForgeSettings)
    placement: PlacementSettings = Field(default_factory=PlacementSettings)
    requests: RequestSettings = Field(default_factory=RequestSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    egress: EgressSettings = Field(default_factory=EgressSettings)
    peers: dict[Name, PeerSettings] = Field(
        default_factory=dict, description="Other nodes, by name; those of one PostgreSQL need not be named."
    )
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    workers: dict[WorkerName, WorkerSpec] = Field(
        default_factory=dict, description="Workers that this file makes, by name."
    )

    _sources: Sources = PrivateAttr(default_factory=Sources)

    @field_validator("peers")
    @classmethod
    def _peers_know_each_other(
        cls, peers: dict[str, PeerSettings], info: ValidationInfo
    ) -> dict[str, PeerSettings]:
        node = info.data.get("node")
        alone = not str(info.data.get("database", "")).startswith("postgresql")
        if peers and alone and node is not None and node.cluster_key is None:
            raise ValueError("need node.cluster_key, by which nodes know each other")
        return peers

    def model_post_init(self, context: Any) -> None:
        """Remember where the values came from, when `load` says so."""
        if isinstance(context, Sources):
            self._sources = context

    @property
    def sources(self) -> Sources:
        """Where each setting was written."""
        return self._sources

    @property
    def base_dir(self) -> Path:
        """What relative paths in the file start from."""
        return self._sources.base_dir
