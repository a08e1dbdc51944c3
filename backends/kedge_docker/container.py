"""What a container may and sees: everything that shuts a build in stands here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker.types import DriverConfig, HostConfig, LogConfig, Mount, Ulimit

from kedge_docker.door import INSIDE, UNIX

if TYPE_CHECKING:
    from kedge import ComputeRequest
    from kedge_docker.door import Door
    from kedge_docker.settings import DockerSettings

WORKSPACE = "/workspace"
#: where the image keeps the runner; `-I -S` keeps everything but it and the standard library out
ENTRYPOINT = ["python3", "-I", "-S", "/opt/kedge"]
#: when memory runs out the machine should end a build before it ends Kedge
OOM_SCORE = 500
PERIOD = 100_000
#: what the runner says to nobody: only a crash writes here
LOG = {"max-size": "256k", "max-file": "1"}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What one container is made with. Two builds of one shape may take each other's warm container."""

    image: str
    network: str
    door: str | None
    memory: int | None
    processes: int | None
    cpu: float | None
    disk: int | None
    open_files: int | None


def shape_of(settings: DockerSettings, door: Door, request: ComputeRequest) -> Shape:
    """The shape that a request asks for; what it leaves open comes from the settings."""
    limits = request.limits.within(settings.limits)
    return Shape(
        image=request.image or settings.image,
        network=settings.network if request.trusted else settings.untrusted_network,
        door=str(door.folder) if request.endpoint.startswith(UNIX) else None,
        memory=limits.memory_bytes,
        processes=limits.processes,
        cpu=limits.cpus,
        disk=limits.disk_bytes,
        open_files=limits.open_files,
    )


def container_config(
    settings: DockerSettings, shape: Shape, labels: dict[str, str], *, network: str, quotas: bool
) -> dict[str, Any]:
    """The arguments of the SDK's `create_container`. No secret is among them.

    `network` is the id of the shape's network, or its name; `quotas` tells whether a volume may have a size.
    """
    return {
        "image": shape.image,
        "entrypoint": ENTRYPOINT,
        "command": [],
        "user": settings.user,
        "working_dir": WORKSPACE,
        "stdin_open": True,
        # with StdinOnce a runner that waits sees Kedge's end as the end of its input
        "tty": False,
        "labels": labels,
        "healthcheck": {"test": ["NONE"]},
        "host_config": _host_config(settings, shape, network=network, quotas=quotas),
    }


def _host_config(settings: DockerSettings, shape: Shape, *, network: str, quotas: bool) -> HostConfig:
    return HostConfig(
        version="1.41",
        init=True,
        runtime=settings.runtime,
        network_mode=network,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        ipc_mode="private",
        mem_limit=shape.memory,
        memswap_limit=shape.memory,
        pids_limit=shape.processes,
        cpu_period=PERIOD if shape.cpu else None,
        cpu_quota=int(shape.cpu * PERIOD) if shape.cpu else None,
        oom_score_adj=OOM_SCORE,
        ulimits=_ulimits(shape),
        tmpfs={"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={settings.temporary}"},  # noqa: S108
        mounts=_mounts(settings, shape, quotas=quotas),
        log_config=LogConfig(type=LogConfig.types.JSON, config=LOG),
    )


def _ulimits(shape: Shape) -> list[Ulimit] | None:
    if shape.open_files is None:
        return None
    return [Ulimit(name="nofile", soft=shape.open_files, hard=shape.open_files)]


def _mounts(settings: DockerSettings, shape: Shape, *, quotas: bool) -> list[Mount]:
    mounts = [_workspace(settings, shape, quotas=quotas)]
    if shape.door is not None:
        mounts.append(Mount(target=INSIDE, source=shape.door, type="bind", read_only=True))
    return mounts


def _workspace(settings: DockerSettings, shape: Shape, *, quotas: bool) -> Mount:
    """A volume with no name: it goes with its container."""
    options: dict[str, str] = {}
    if settings.workspace == "memory":
        user, group = settings.user.split(":")
        options = {"type": "tmpfs", "device": "tmpfs"}
        options["o"] = f"size={shape.disk},uid={user},gid={group},mode=0755,nosuid,nodev"
    elif shape.disk is not None and quotas:
        options = {"size": str(shape.disk)}
    driver = DriverConfig("local", options) if options else None
    return Mount(target=WORKSPACE, source=None, type="volume", driver_config=driver)


def own_network(name: str, of: str) -> dict[str, Any]:
    """The arguments of the SDK's `create_network` for a network whose containers cannot reach each other."""
    return {
        "name": name,
        "driver": "bridge",
        "check_duplicate": True,
        "options": {
            "com.docker.network.bridge.enable_icc": "false",
            # which firewalls know it by
            "com.docker.network.bridge.name": name,
        },
        "labels": {"kedge.network": of},
    }
