"""The runtime `docker`: deployed workers in containers of this machine's engine."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import structlog
from docker.errors import APIError, NotFound

from kedge import CapacityUnavailable, ComputeError, ConfigError, InstanceKind, StartRefused
from kedge_docker.channel import Channel
from kedge_docker.container_compute import read_or_make
from kedge_docker.containers import own_network_id
from kedge_docker.engine import Engine, EngineGone, close_stream, refusal
from kedge_docker.images import Images
from kedge_docker.instance import DockerInstance
from kedge_docker.instance_container import PORT, instance_config, order_of
from kedge_docker.registries import Registries
from kedge_docker.runtime_settings import OWN_NETWORK, DockerRuntimeSettings
from kedge_docker.secret_files import SecretFiles
from kedge_docker.watch import Watch
from kedge_docker.way_out import WayOut

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import docker
    from pydantic import BaseModel

    from kedge import Host, InstanceRequest

log = structlog.get_logger("docker")

#: the Kedge whose instance a container is
OWNER = "kedge.instances"
#: ends of containers that nobody knew yet
REMEMBERED = 256
INSTANCE = "kedge.instance"
WORKER = "kedge.worker"


class DockerRuntime:
    """Runs each instance in a fresh container, with the walls that builds have."""

    name: ClassVar[str] = "docker"
    Settings: ClassVar[type[BaseModel]] = DockerRuntimeSettings
    kinds: ClassVar[frozenset[InstanceKind]] = frozenset(InstanceKind)

    def __init__(self, settings: DockerRuntimeSettings, host: Host) -> None:
        """Keep `settings`."""
        self._settings = settings
        self._folder = (host.data_dir / "docker").absolute()
        self.engine = Engine(settings)
        self._registries = Registries(settings.registries, host, table=settings.table)
        self._images = Images(self.engine, self._registries, allowed=settings.pull == "missing")
        self._secrets = SecretFiles(self._folder / "secrets")
        self._instances: dict[str, DockerInstance] = {}
        self._network = settings.network
        self._way_out: WayOut | None = None
        self._prepared = False
        self._early: deque[str] = deque(maxlen=REMEMBERED)
        self._given_up: set[asyncio.Task[None]] = set()
        self._watch = Watch(self, ended=self._heard, look=self._look)

    @property
    def filter(self) -> dict[str, list[str]]:
        """What the engine selects this Kedge's instances by."""
        return {"label": [f"{OWNER}={self._owner}"]}

    async def open(self) -> None:
        """End what an earlier node left. An engine that does not answer is tried again by the first start.

        Raises `ConfigError` if the folder cannot be used, or a password is not there.
        """
        await asyncio.to_thread(self._registries.check)
        try:
            self._owner = await asyncio.to_thread(self._prepare_folder)
        except OSError as error:
            raise ConfigError([f"server.data_dir: {self._folder} cannot be used ({error})"]) from error
        try:
            await self._prepare()
        except (EngineGone, ConfigError) as error:
            # builds may run elsewhere, and perhaps nobody deploys what has to run here
            log.warning("engine_gone", reason=str(error))

    async def start(self, request: InstanceRequest) -> DockerInstance:
        """Start a container, and hand its program what it may know."""
        if request.kind is InstanceKind.IMAGE and request.image is None:
            raise StartRefused("the version names no image: there is nothing to run")
        if not self._prepared:
            await self._prepare()
        if request.egress and request.kind is not InstanceKind.IMAGE:
            request = replace(request, egress=await self._lead_out(request.egress))
        order = None if request.kind is InstanceKind.IMAGE else json.dumps(order_of(request)).encode()
        secrets = None
        if order is None and request.secrets:
            secrets = await asyncio.to_thread(self._secrets.write, request.instance_id, request.secrets)
        work = partial(self._start, request, order, secrets)
        starting = asyncio.ensure_future(self._images.run(request.image or self._settings.image, work))
        try:
            instance = await asyncio.shield(starting)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._give_up(request.instance_id, starting))
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)
            raise
        except BaseException:
            await self._clear(request.instance_id)
            raise
        instance.watch(partial(self._ended, instance))
        self._instances[instance.container_id] = instance
        if instance.container_id in self._early:
            instance.note_end()
        return instance

    async def _lead_out(self, egress: Mapping[str, str]) -> Mapping[str, str]:
        """The way to the egress proxy as a container finds it; without one nothing is measured."""
        try:
            if self._way_out is None:
                told = await self.engine.call("inspect_network", self._network)
                self._way_out = self._way_out or WayOut(told, port=self._settings.egress_port)
            return await self._way_out.lead(egress)
        except (APIError, OSError, ValueError) as error:
            log.warning("instances_are_not_measured", network=self._network, reason=str(error))
            return {}

    async def _give_up(self, instance_id: str, starting: asyncio.Future[DockerInstance]) -> None:
        """Remove what a start that nobody waits for any more makes all the same."""
        try:
            instance = await starting
        except ComputeError:
            return
        finally:
            await self._clear(instance_id)
        await self.engine.run(instance.abandon)

    async def close(self) -> None:
        """End every instance."""
        self._images.close()
        await asyncio.gather(*self._given_up)
        await asyncio.gather(*[instance.stop(grace=0) for instance in self._instances.values()])
        if self._way_out is not None:
            await self._way_out.close()
        await self._watch.close()
        await self.engine.close()

    def _prepare_folder(self) -> str:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._secrets.clear()
        return read_or_make(self._folder / "instances-owner", lambda: uuid4().hex)

    async def _prepare(self) -> None:
        if self._settings.network == OWN_NETWORK:
            self._network = await self.engine.run(lambda api: own_network_id(api, OWN_NETWORK, "workers"))
        for found in await self.engine.call("containers", all=True, filters=self.filter):
            await self.engine.run(partial(_remove, container_id=found["Id"]))
        if not self._prepared:
            self._prepared = True
            self._watch.open()

    def _heard(self, container_id: str) -> None:
        """A container has ended, perhaps before its start was over."""
        self._early.append(container_id)
        instance = self._instances.get(container_id)
        if instance is not None:
            instance.note_end()

    async def _look(self) -> None:
        """Take note of what has ended while nobody listened."""
        known = set(self._instances)
        found = await self.engine.call("containers", filters=self.filter)
        for container_id in known - {one["Id"] for one in found}:
            self._heard(container_id)

    async def _ended(self, instance: DockerInstance) -> None:
        self._instances.pop(instance.container_id, None)
        await self._clear(instance.instance_id)

    async def _clear(self, instance_id: str) -> None:
        await asyncio.to_thread(self._secrets.remove, instance_id)

    def _start(
        self, request: InstanceRequest, order: bytes | None, secrets: Path | None, api: docker.APIClient
    ) -> DockerInstance:
        labels = {OWNER: self._owner, INSTANCE: request.instance_id, WORKER: request.worker}
        config = instance_config(self._settings, request, labels, network=self._network, secrets=secrets)
        try:
            container_id: str = api.create_container(**config)["Id"]
        except APIError as error:
            raise refusal(error, config["image"], table=self._settings.table) from error
        output: Any = None
        try:
            output = api.attach(container_id, stdout=True, stderr=True, stream=True, logs=False)
            channel = Channel.attach(api, container_id) if order is not None else None
            api.start(container_id)
            if channel is not None and order is not None:
                channel.send(order + b"\n")
            address = _address(api.inspect_container(container_id))
        except BaseException as error:
            if output is not None:
                close_stream(output)
            _remove(api, container_id=container_id)
            if isinstance(error, APIError):
                raise refusal(error, config["image"], table=self._settings.table) from error
            raise
        return DockerInstance(
            request.instance_id, container_id, address=address, output=output, engine=self.engine
        )


def _address(found: dict[str, Any]) -> str:
    """Where it listens, as this machine sees it. One that has ended already has no address."""
    networks = found["NetworkSettings"]["Networks"].values()
    addresses = [network["IPAddress"] for network in networks if network["IPAddress"]]
    if addresses:
        return f"{addresses[0]}:{PORT}"
    if found["State"]["Running"]:
        raise CapacityUnavailable("the Docker engine gave the container no address; choose a bridge network")
    return f"127.0.0.1:{PORT}"


def _remove(api: docker.APIClient, *, container_id: str) -> None:
    try:
        api.remove_container(container_id, v=True, force=True)
    except NotFound:
        return
    except APIError as error:
        # another removal is under way
        if error.status_code != 409:
            raise
