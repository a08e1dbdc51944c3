"""What runs the containers of tasks: the seam below the control plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from docker.errors import APIError, ImageNotFound, NotFound

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

LABEL = "kedge.testing.ecs"
NOT_FOUND = (
    "CannotPullContainerError: pull image manifest has been retried 7 time(s): failed to resolve ref {0}: "
    "{0}: not found"
)


class ImageMissing(Exception):
    """There is no such image, or it cannot be pulled: in the words of ECS."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How a container ended."""

    exit_code: int
    out_of_memory: bool = False


class TaskRunner(Protocol):
    """Runs one container for each task. Every method blocks."""

    def start(self, task_id: str, definition: dict[str, Any], environment: dict[str, str]) -> None:
        """Start it. Raises `ImageMissing`."""
        ...

    def wait(self, task_id: str) -> End:
        """Return when it has ended, and nothing of it is left."""
        ...

    def stop(self, task_id: str, grace: int) -> None:
        """Ask it to end, and kill it after `grace` seconds. One that has ended is no error."""
        ...


class DockerRunner:
    """Containers of a Docker Engine, on its default bridge."""

    def __init__(self, client: docker.DockerClient, name: str) -> None:
        """`name` tells this runner's containers from others'."""
        self._client = client
        self._name = name
        self._containers: dict[str, Container] = {}

    def start(self, task_id: str, definition: dict[str, Any], environment: dict[str, str]) -> None:
        """Create and start its container."""
        try:
            container = self._client.containers.create(
                definition["image"],
                entrypoint=definition.get("entryPoint"),
                command=definition.get("command", []),
                environment=environment,
                user=definition.get("user"),
                working_dir=definition.get("workingDirectory"),
                init=definition.get("linuxParameters", {}).get("initProcessEnabled", False),
                mem_limit=f"{definition['memory']}m",
                memswap_limit=f"{definition['memory']}m",
                network_mode="bridge",
                labels={LABEL: self._name},
            )
        except ImageNotFound as error:
            raise ImageMissing(NOT_FOUND.format(definition["image"])) from error
        self._containers[task_id] = container
        container.start()

    def wait(self, task_id: str) -> End:
        """Wait for its end, and remove it."""
        container = self._containers[task_id]
        code = int(container.wait(timeout=None)["StatusCode"])
        container.reload()
        end = End(exit_code=code, out_of_memory=bool(container.attrs["State"]["OOMKilled"]))
        container.remove(v=True, force=True)
        return end

    def stop(self, task_id: str, grace: int) -> None:
        """Stop it as the engine does."""
        try:
            self._containers[task_id].stop(timeout=grace)
        except (NotFound, APIError):
            return  # it has ended meanwhile

    def close(self) -> None:
        """Remove what is left."""
        for container in self._client.containers.list(all=True, filters={"label": f"{LABEL}={self._name}"}):
            try:
                container.remove(v=True, force=True)
            except APIError:
                continue  # its own thread does so now
