"""`[compute.ecs]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kedge import Duration, Size

MIB = 1024**2
GIB = 1024**3
#: what Fargate offers: MiB of memory for so many units of 1/1024 processor
FARGATE: dict[int, frozenset[int]] = {
    256: frozenset({512, 1024, 2048}),
    512: frozenset(range(1024, 4097, 1024)),
    1024: frozenset(range(2048, 8193, 1024)),
    2048: frozenset(range(4096, 16385, 1024)),
    4096: frozenset(range(8192, 30721, 1024)),
    8192: frozenset(range(16384, 61441, 4096)),
    16384: frozenset(range(32768, 122881, 8192)),
}


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise ValueError('must be a URL such as "https://kedge.example.com", with no user and no query')
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]


class NetworkSettings(BaseModel):
    """`[compute.ecs.network]` and `[compute.ecs.untrusted_network]`: where a task's own interface lies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subnets: tuple[str, ...] = Field(min_length=1, max_length=16, description="Subnets of one VPC.")
    security_groups: tuple[str, ...] = Field(
        default=(), max_length=5, description="What a build may reach; the VPC's default if not given."
    )
    public_ip: bool = Field(
        default=False, description="Whether a task gets a public address, as subnets without NAT need."
    )


class PlaceSettings(BaseModel):
    """`[compute.ecs.locations.NAME]`: where the nodes of one location start their builds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str = Field(min_length=1, description="The cluster's name or ARN.")
    region: str | None = Field(default=None, description="Its region; as AWS tools find it if not given.")
    network: NetworkSettings | None = Field(default=None, description="For trusted builds.")
    untrusted_network: NetworkSettings | None = Field(default=None, description="For code from outside.")


class EcsSettings(BaseModel):
    """Which cluster, which image, and what a build may use. Credentials come as for every AWS tool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1, description="The image that builds run in, as ECS can pull it.")
    cluster: str = Field(default="default", min_length=1, description="The cluster's name or ARN.")
    region: str | None = Field(
        default=None, description="The cluster's region; as AWS tools find it if not given."
    )
    network: NetworkSettings | None = Field(default=None, description="For trusted builds.")
    untrusted_network: NetworkSettings | None = Field(
        default=None, description="For code from outside, which is refused without it."
    )
    locations: dict[str, PlaceSettings] = Field(
        default_factory=dict, description="Clusters by the location of the node that starts a build."
    )
    launch_type: Literal["FARGATE", "EC2"] = Field(default="FARGATE", description="What tasks run on.")
    capacity_providers: tuple[str, ...] = Field(
        default=(), max_length=6, description='In place of launch_type: such as ["FARGATE_SPOT"].'
    )
    cpu: int = Field(default=1024, ge=128, le=196608, description="1024 are one processor.")
    memory: Size = Field(default=4 * GIB, ge=512 * MIB, description="Memory of one build.")
    disk: Size | None = Field(
        default=None, ge=21 * GIB, le=200 * GIB, description="Disk of a Fargate task; 20 GiB if not given."
    )
    family: str = Field(
        default="kedge-build",
        pattern=r"^[A-Za-z0-9_-]{1,255}$",
        description="Family of the task definitions; one for each Kedge that shares a cluster.",
    )
    execution_role: str | None = Field(
        default=None, description="ARN of the role that pulls the image, where pulling needs one."
    )
    registry_credentials: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:(secretsmanager|ssm):[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9/_+=.@:-]+$",
        description="ARN of the secret that holds user and password of a registry other than ECR.",
    )
    url: Url | None = Field(
        default=None, description="Where tasks reach Kedge; server.public_url if not given."
    )
    endpoint: Url | None = Field(default=None, description="Where ECS answers; AWS if not given.")
    profile: str | None = Field(default=None, description="A profile of ~/.aws/config.")
    stop_timeout: int = Field(
        default=30, ge=2, le=120, description="Seconds from asking a build to end until it is killed."
    )
    poll: Annotated[Duration, Field(ge=0.05)] = Field(
        default=2.0, description="How often the state of running tasks is asked for, all in one call."
    )
    connections: int = Field(default=8, ge=1, le=64, description="Calls of AWS on their way at once.")
    attempts: int = Field(default=3, ge=1, le=10, description="Tries of one call, with growing pauses.")
    connect_timeout: Annotated[Duration, Field(gt=0)] = Field(default=5.0, description="To get a connection.")
    read_timeout: Annotated[Duration, Field(gt=0)] = Field(default=20.0, description="The longest silence.")

    @property
    def memory_mib(self) -> int:
        """Memory as ECS counts it."""
        return int(self.memory) // MIB

    def place(self, location: str) -> PlaceSettings:
        """Where the nodes of a location start builds."""
        usual = PlaceSettings(
            cluster=self.cluster,
            region=self.region,
            network=self.network,
            untrusted_network=self.untrusted_network,
        )
        return self.locations.get(location, usual)

    def places(self, location: str) -> list[PlaceSettings]:
        """Where any node may have started builds, each place once; first where those of `location` do."""
        own = self.place(location)
        elsewhere = self.place("") if "cluster" in self.model_fields_set else own
        distinct: dict[tuple[str, str | None], PlaceSettings] = {}
        for one in (own, *self.locations.values(), elsewhere):
            distinct.setdefault((one.cluster, one.region), one)
        return list(distinct.values())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.launch_type == "FARGATE" and self.memory_mib not in FARGATE.get(self.cpu, frozenset()):
            fitting = ", ".join(str(one) for one in sorted(FARGATE.get(self.cpu, frozenset())))
            known = ", ".join(map(str, FARGATE))
            raise ValueError(
                f"Fargate has no tasks of cpu = {self.cpu} with {self.memory_mib} MiB; "
                + (f"MiB for this cpu: {fitting}" if fitting else f"choose cpu from {known}")
            )
        if self.disk is not None and self.launch_type != "FARGATE":
            raise ValueError("disk is for Fargate; on EC2 the instance's own disk is used")
        if self.registry_credentials is not None and self.execution_role is None:
            raise ValueError("registry_credentials are read by execution_role: set it too")
        if self.network is None and not self.locations:
            raise ValueError("builds need [compute.ecs.network] with subnets")
        return self
