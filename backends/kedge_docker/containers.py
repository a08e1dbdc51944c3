"""Containers in the engine: made, found, read and removed. Every method blocks on the engine in a thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from docker.errors import APIError, NotFound

from kedge import CapacityUnavailable, StartRefused
from kedge_docker.channel import Channel
from kedge_docker.container import container_config, own_network
from kedge_docker.engine import is_conflict, refusal
from kedge_docker.labels import ATTEMPT, BUILD, OWNER, WARM, name_of
from kedge_docker.settings import OWN_NETWORK

if TYPE_CHECKING:
    import docker

    from kedge import AttemptName, ComputeError
    from kedge_docker.container import Shape
    from kedge_docker.engine import Engine
    from kedge_docker.images import Images
    from kedge_docker.settings import DockerSettings
    from kedge_docker.warm import Waiting

#: lines of a runner's last words
LAST_WORDS = 20


class Containers:
    """Those of one Kedge in one engine, told from others' by their label."""

    def __init__(self, engine: Engine, images: Images, settings: DockerSettings, owner: str) -> None:
        """Do nothing yet."""
        self.engine = engine
        self._images = images
        self._settings = settings
        self._owner = owner
        self._quotas: bool | None = None
        self._networks: dict[str, str] = {}

    @property
    def filter(self) -> dict[str, list[str]]:
        """What the engine selects Kedge's containers by."""
        return {"label": [f"{OWNER}={self._owner}"]}

    async def prepare(self) -> bool:
        """Make what containers need. Returns whether workspaces on disk can be limited in size."""
        if OWN_NETWORK in {self._settings.network, self._settings.untrusted_network}:
            network = await self.engine.run(lambda api: own_network_id(api, OWN_NETWORK, "builds"))
            self._networks[OWN_NETWORK] = network
        if self._quotas is None:
            self._quotas = await self.engine.run(_has_quotas)
        return self._quotas

    async def create(
        self, shape: Shape, name: AttemptName | None, labels: dict[str, str]
    ) -> tuple[str, Channel]:
        """Make and start a container whose runner waits; return its id and its input.

        Raises `NameTaken`, `StartRefused` or `CapacityUnavailable`; then nothing is left of it.
        """
        work = partial(self._create, shape=shape, name=name, labels=labels)
        return await self._images.run(shape.image, work)

    async def give(self, waiting: Waiting, name: AttemptName, image: str) -> None:
        """Give a container that waits for a build in `image` to an attempt.

        Raises `NameTaken`, or `Gone` if it has ended or the name means another image by now.
        """
        await self.engine.run(lambda api: _give(api, waiting, name_of(name), image))

    async def image_of(self, container_id: str) -> str:
        """The id of the image that a container was made of. Raises `CapacityUnavailable` if it has gone."""
        try:
            found = await self.engine.call("inspect_container", container_id)
        except NotFound as error:
            raise CapacityUnavailable("a container that was to wait has been removed") from error
        return str(found["Image"])

    async def list(self) -> list[dict[str, Any]]:
        """All of them, ended ones included, as the engine sums them up."""
        found: list[dict[str, Any]] = await self.engine.call("containers", all=True, filters=self.filter)
        return found

    async def state(self, container_id: str) -> dict[str, Any] | None:
        """Its state in the engine's words; None if there is no such container of this Kedge."""
        try:
            found = await self.engine.call("inspect_container", container_id)
        except NotFound:
            return None
        labels = found["Config"].get("Labels") or {}
        state: dict[str, Any] = found["State"]
        return state if labels.get(OWNER) == self._owner else None

    async def last_words(self, container_id: str) -> str:
        """The end of what its runner wrote as errors; nothing if it cannot be had."""
        try:
            said: bytes = await self.engine.call(
                "logs", container_id, stdout=False, stderr=True, tail=LAST_WORDS
            )
        except APIError:
            return ""
        return said.decode("utf-8", "replace")

    async def signal(self, container_id: str, number: str) -> None:
        """Send a signal; one that has ended is no error."""
        try:
            await self.engine.call("kill", container_id, signal=number)
        except APIError as error:
            if error.status_code not in {404, 409}:
                raise

    async def remove(self, container_id: str) -> None:
        """Remove it with its workspace, whatever its state. Safe twice."""
        try:
            await self.engine.call("remove_container", container_id, v=True, force=True)
        except APIError as error:
            # another removal is under way, or over
            if error.status_code not in {404, 409}:
                raise

    def _create(
        self, api: docker.APIClient, *, shape: Shape, name: AttemptName | None, labels: dict[str, str]
    ) -> tuple[str, Channel]:
        marks = {**labels, OWNER: self._owner}
        marks |= {WARM: "1"} if name is None else {BUILD: name.build_uuid, ATTEMPT: str(name.number)}
        network = self._networks.get(shape.network, shape.network)
        config = container_config(self._settings, shape, marks, network=network, quotas=bool(self._quotas))
        config["name"] = f"kedge-warm-{uuid4().hex}" if name is None else name_of(name)
        try:
            made: str = api.create_container(**config)["Id"]
        except APIError as error:
            if is_conflict(error):
                raise NameTaken(config["name"]) from error
            raise self._refusal(error, shape.image) from error
        return made, self._start(api, made, shape.image)

    def _start(self, api: docker.APIClient, container_id: str, image: str) -> Channel:
        channel: Channel | None = None
        try:
            channel = Channel.attach(api, container_id)
            api.start(container_id)
        except BaseException as error:
            if channel is not None:
                channel.close()
            api.remove_container(container_id, v=True, force=True)
            if isinstance(error, APIError):
                raise self._refusal(error, image) from error
            raise
        return channel

    def _refusal(self, error: APIError, image: str) -> ComputeError:
        return refusal(error, image, table=self._settings.table)


class NameTaken(Exception):
    """The engine has a container of that name."""


class Gone(Exception):
    """A container that waited has ended, or is of no use any more."""


def _give(api: Any, waiting: Waiting, name: str, image: str) -> None:
    try:
        if api.inspect_image(image)["Id"] != waiting.image_id:
            raise Gone(image)
        api.rename(waiting.container_id, name)
    except APIError as error:
        if is_conflict(error) and "in use" in str(error.explanation):
            raise NameTaken(name) from error
        raise Gone from error


def own_network_id(api: docker.APIClient, name: str, of: str) -> str:
    """Kedge's network of a name, made if need be. Blocks. A name does not do: two may share it."""
    made = None
    try:
        if not _own_networks(api, name):
            made = api.create_network(**own_network(name, of))["Id"]
    except APIError as error:
        # another Kedge may just have made it
        if not _own_networks(api, name):
            raise StartRefused(f"cannot make the network {name}: {error.explanation}") from error
    first = _own_networks(api, name)[0]
    if made is not None and made != first:
        api.remove_network(made)
    return first


def _own_networks(api: docker.APIClient, name: str) -> list[str]:
    """The ids of the networks of that name, the one made first in front."""
    found = [network for network in api.networks(names=[name]) if network["Name"] == name]
    return [network["Id"] for network in sorted(found, key=lambda one: (one["Created"], one["Id"]))]


def _has_quotas(api: docker.APIClient) -> bool:
    """Whether a volume on the engine's disk may have a size."""
    name = f"kedge-quota-{uuid4().hex}"
    try:
        api.create_volume(name=name, driver="local", driver_opts={"size": "16777216"})
    except APIError:
        return False
    api.remove_volume(name)
    return True
