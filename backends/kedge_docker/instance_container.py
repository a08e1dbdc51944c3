"""What the container of an instance may and sees: everything that shuts a worker in stands here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker.types import HostConfig, LogConfig, Mount, Ulimit

from kedge import InstanceKind, StartRefused
from kedge_docker.container import OOM_SCORE, PERIOD

if TYPE_CHECKING:
    from pathlib import Path

    from kedge import InstanceRequest
    from kedge_docker.runtime_settings import DockerRuntimeSettings

PORT = 8080
FILES = "/app"
SERVER = "/opt/kedge-server"
SECRETS = "/run/secrets"
#: reads one line, becomes the program: secrets are in no argument, label or description
LAUNCHER = """\
import json, os, shutil, signal, sys
order = json.loads(sys.stdin.buffer.readline())
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
environment, arguments = {**os.environ, **order["environment"]}, order["arguments"]
program = shutil.which(arguments[0], path=environment.get("PATH"))
if program is None:
    sys.exit(f"kedge: there is no program {arguments[0]!r} in the image")
os.execve(program, arguments, environment)
"""


def instance_config(
    settings: DockerRuntimeSettings,
    request: InstanceRequest,
    labels: dict[str, str],
    *,
    network: str,
    secrets: Path | None,
) -> dict[str, Any]:
    """The arguments of the SDK's `create_container`. No secret is among them.

    `secrets` is the folder with a file for each secret, of an image, whose own program cannot be told them.
    """
    config: dict[str, Any] = {
        "image": request.image or settings.image,
        "name": f"kedge-instance-{request.instance_id}",
        "labels": labels,
        "healthcheck": {"test": ["NONE"]},
        "tty": False,
        "host_config": _host_config(settings, request, network=network, secrets=secrets),
    }
    if request.kind is InstanceKind.IMAGE:
        config["environment"] = {**request.variables, **_where()}
        if request.entry:
            config["command"] = [_with_port(argument) for argument in request.entry]
        return config
    return {
        **config,
        "entrypoint": ["python3", "-I", "-S", "-c", LAUNCHER],
        "command": [],
        "user": settings.user,
        "working_dir": FILES if request.files is not None else "/tmp",  # noqa: S108  (its own)
        "stdin_open": True,
    }


def order_of(request: InstanceRequest) -> dict[str, Any]:
    """What the launcher is told: the whole environment, and what to become."""
    if not request.entry:
        raise StartRefused("the version has no entry: there is nothing to run")
    if request.kind is InstanceKind.ASGI:
        arguments = ["python3", "-u", f"{SERVER}/serve.py", *request.entry]
    else:
        arguments = [_with_port(argument) for argument in request.entry]
    own = f"{FILES}/node_modules/.bin:{FILES}/python_modules/bin"
    base = {
        "PATH": f"{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",  # noqa: S108  (the container's own)
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    given = {**request.variables, **request.secrets, **request.egress}
    return {"arguments": arguments, "environment": {**base, **given, **_where()}}


def _where() -> dict[str, str]:
    return {"HOST": "0.0.0.0", "PORT": str(PORT)}  # noqa: S104  (within the container)


def _with_port(argument: str) -> str:
    return argument.replace("$PORT", str(PORT))


def _host_config(
    settings: DockerRuntimeSettings, request: InstanceRequest, *, network: str, secrets: Path | None
) -> HostConfig:
    limits = request.limits.within(settings.limits)
    cpu, open_files = limits.cpus, limits.open_files
    return HostConfig(
        version="1.41",
        init=True,
        runtime=settings.runtime,
        network_mode=network,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        # many an image writes beside its program; what it writes goes with the container
        read_only=request.kind is not InstanceKind.IMAGE,
        ipc_mode="private",
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,
        pids_limit=limits.processes,
        cpu_period=PERIOD if cpu else None,
        cpu_quota=int(cpu * PERIOD) if cpu else None,
        oom_score_adj=OOM_SCORE,
        ulimits=[Ulimit(name="nofile", soft=open_files, hard=open_files)] if open_files else None,
        tmpfs={"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={settings.temporary}"},  # noqa: S108
        mounts=_mounts(request, secrets),
        # what it prints is read as it comes, and kept by Kedge
        log_config=LogConfig(type=LogConfig.types.NONE),
    )


def _mounts(request: InstanceRequest, secrets: Path | None) -> list[Mount]:
    shown = {FILES: request.files, SERVER: request.server, SECRETS: secrets}
    return [
        Mount(target=target, source=str(source), type="bind", read_only=True)
        for target, source in shown.items()
        if source is not None
    ]
