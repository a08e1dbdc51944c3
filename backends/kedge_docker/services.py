"""Services in a swarm: one for each attempt, whose one task runs once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from docker.errors import APIError
from docker.types import (
    ContainerSpec,
    DriverConfig,
    Healthcheck,
    Mount,
    NetworkAttachmentConfig,
    Placement,
    Resources,
    RestartPolicy,
    SecretReference,
    ServiceMode,
    TaskTemplate,
)

from kedge import CapacityUnavailable
from kedge_docker.container import ENTRYPOINT, WORKSPACE
from kedge_docker.engine import TIMEOUT, is_conflict, is_missing
from kedge_docker.images import raise_for_status
from kedge_docker.labels import ATTEMPT, BUILD, CLUSTER, RETIRED, name_of
from kedge_docker.settings import OWN_NETWORK

if TYPE_CHECKING:
    from collections.abc import Sequence

    import docker

    from kedge import AttemptName, ComputeRequest
    from kedge_docker.engine import Engine
    from kedge_docker.registries import Registries
    from kedge_docker.settings import DockerSettings

#: where a runner finds its assignment
SECRET_FILE = "assignment"  # noqa: S105  (a file's name)
SECRETS = "/run/secrets"
NANOS = 1_000_000_000


class Services:
    """Those of one Kedge, told from others' by the label of its cluster."""

    def __init__(self, engine: Engine, settings: DockerSettings, registries: Registries) -> None:
        """Do nothing yet."""
        self._engine = engine
        self._settings = settings
        self._registries = registries

    @property
    def filter(self) -> dict[str, str]:
        """What the engine selects Kedge's services, and their tasks, by."""
        return {"label": f"{CLUSTER}={self._settings.cluster}"}

    async def is_manager(self) -> bool:
        """Whether the engine may be asked for services."""
        info = await self._engine.call("info")
        return bool(info["Swarm"]["ControlAvailable"])

    async def create(self, name: AttemptName, request: ComputeRequest, assignment: bytes) -> str:
        """Make a service whose runner finds `assignment`; return its id, or that of an earlier try."""
        return await self._engine.run(lambda api: self._create(api, name, request, assignment))

    async def list(self) -> list[dict[str, Any]]:
        """All of them."""
        found: list[dict[str, Any]] = await self._engine.call("services", filters=self.filter)
        return found

    async def tasks(self) -> dict[str, dict[str, Any]]:
        """The newest task of each service, by the service's id."""
        found = await self._engine.call("tasks", filters=self.filter)
        return {task["ServiceID"]: task for task in sorted(found, key=lambda one: str(one["CreatedAt"]))}

    async def nodes(self) -> dict[str, str]:
        """How each node of the swarm is: `ready`, `down` and others, by its id."""
        return {node["ID"]: node["Status"]["State"] for node in await self._engine.call("nodes")}

    async def end(self, service_id: str) -> None:
        """Have its task ended; one that is gone is no error."""
        await self._engine.run(partial(_scale_to_nothing, service_id, {}))

    async def retire(self, service_id: str) -> None:
        """The same, and have it removed by whoever sees that its task has gone.

        The dispatcher of swarmkit 20.10 can break for good if a service goes before its task.
        """
        await self._engine.run(partial(_scale_to_nothing, service_id, {RETIRED: "1"}))

    async def remove(self, service_id: str, name: str) -> None:
        """Remove one whose task has gone, with its secret. Safe twice."""
        await self._engine.run(partial(_remove, service_id, name))

    def _create(self, api: Any, name: AttemptName, request: ComputeRequest, assignment: bytes) -> str:
        labels = {**request.labels, CLUSTER: self._settings.cluster}
        labels |= {BUILD: name.build_uuid, ATTEMPT: str(name.number)}
        headers = self._registries.headers(request.image or self._settings.image)
        secret = self._make_secret(api, name_of(name), assignment, labels)
        try:
            made = _post(
                api,
                "services/create",
                {
                    "Name": name_of(name),
                    "Labels": labels,
                    "TaskTemplate": self._task(request, secret),
                    "Mode": ServiceMode("replicated", 1),
                },
                headers=headers,
            )
        except APIError as error:
            found = _find(api, name_of(name), self.filter) if is_conflict(error) else None
            if found is None:
                api.remove_secret(secret["SecretID"])
                raise
            if is_retired(found):
                raise CapacityUnavailable("an earlier try at the attempt is still being removed") from error
            return str(found["ID"])
        return str(made["ID"])

    def _make_secret(
        self, api: docker.APIClient, name: str, data: bytes, labels: dict[str, str]
    ) -> SecretReference:
        try:
            made: Any = api.create_secret(name, data, labels=labels)
        except APIError as error:
            if not is_conflict(error):
                raise
            # of an earlier try at the same attempt
            (made,) = [one for one in api.secrets(filters=self.filter) if one["Spec"]["Name"] == name]
        user, group = self._settings.user.split(":")
        return SecretReference(made["ID"], name, filename=SECRET_FILE, uid=user, gid=group, mode=0o400)

    def _task(self, request: ComputeRequest, secret: SecretReference) -> TaskTemplate:
        settings = self._settings
        limits = request.limits.within(settings.limits)
        network = settings.network if request.trusted else settings.untrusted_network
        resources = Resources(
            mem_limit=limits.memory_bytes,
            mem_reservation=limits.memory_bytes,
            cpu_limit=int(limits.cpus * NANOS) if limits.cpus else None,
            cpu_reservation=int(limits.cpus * NANOS) if limits.cpus else None,
        )
        resources["Limits"]["Pids"] = limits.processes
        return TaskTemplate(
            self._container(request, secret),
            resources=resources,
            restart_policy=RestartPolicy(condition="none"),
            placement=Placement(constraints=[*self._constraints(request)]),
            networks=None if network == OWN_NETWORK else [NetworkAttachmentConfig(network)],
        )

    def _container(self, request: ComputeRequest, secret: SecretReference) -> ContainerSpec:
        settings = self._settings
        return ContainerSpec(
            request.image or settings.image,
            command=ENTRYPOINT,
            env={"KEDGE_ASSIGNMENT_FILE": f"{SECRETS}/{SECRET_FILE}"},
            user=settings.user,
            workdir=WORKSPACE,
            read_only=True,
            init=True,
            cap_drop=["ALL"],
            healthcheck=Healthcheck(test=["NONE"]),
            stop_grace_period=int(settings.stop_grace * NANOS),
            mounts=[_workspace(settings, request), Mount("/tmp", None, type="tmpfs", tmpfs_mode=0o1777)],  # noqa: S108
            secrets=[secret],
        )

    def _constraints(self, request: ComputeRequest) -> Sequence[str]:
        label = self._settings.location_label
        place = [f"node.labels.{label}=={request.location}"] if label and request.location else []
        return [*self._settings.constraints, *place]


def _workspace(settings: DockerSettings, request: ComputeRequest) -> Mount:
    if settings.workspace == "disk":
        return Mount(WORKSPACE, None, type="volume")
    user, group = settings.user.split(":")
    size = request.limits.within(settings.limits).disk_bytes
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size},uid={user},gid={group},nosuid,nodev"}
    return Mount(WORKSPACE, None, type="volume", driver_config=DriverConfig("local", options))


def is_retired(service: dict[str, Any]) -> bool:
    """Whether nobody needs it any more."""
    return RETIRED in service["Spec"]["Labels"]


def _find(api: Any, name: str, mine: dict[str, str]) -> dict[str, Any] | None:
    """The service of this Kedge that has just this name."""
    services: list[dict[str, Any]] = api.services(filters=mine)
    return next((one for one in services if one["Spec"]["Name"] == name), None)


def _scale_to_nothing(service_id: str, labels: dict[str, str], api: Any) -> None:
    while True:
        try:
            found = api.inspect_service(service_id)
            nothing = {"Mode": ServiceMode("replicated", 0), "Labels": found["Spec"]["Labels"] | labels}
            version = {"version": found["Version"]["Index"]}
            _post(api, f"services/{service_id}/update", found["Spec"] | nothing, params=version)
        except APIError as error:
            if is_missing(error):
                return
            if "out of sequence" not in str(error.explanation):
                raise
        else:
            return


def _post(api: Any, path: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Call the engine. The SDK's own calls would send what `docker login` left, and nothing else, along."""
    response = api.post(f"{api.base_url}/v{api.api_version}/{path}", json=content, timeout=TIMEOUT, **more)
    raise_for_status(response)
    answer: dict[str, Any] = response.json()
    return answer


def _remove(service_id: str, name: str, api: Any) -> None:
    for remove, what in ((api.remove_service, service_id), (api.remove_secret, name)):
        try:
            remove(what)
        except APIError as error:
            if not is_missing(error):
                raise
