"""A worker, as its owner and as deploying tools see it."""

from __future__ import annotations

from typing import NotRequired

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict

from kedge.api.shapes.placement import PlacementShape


class WorkerShape(TypedDict):
    """A worker. `tag` is what other objects call `external_script_id`."""

    id: str
    name: str
    tag: str
    created_on: str | None
    modified_on: str | None


class ScriptShape(WorkerShape):
    """A worker as deploying tools look it up; what is said of placement twice has an older name, too."""

    placement: PlacementShape
    placement_mode: NotRequired[str]
    placement_status: NotRequired[str]


class ServiceEnvironment(TypedDict):
    """The one environment that a worker has."""

    environment: str
    script: ScriptShape


class ServiceShape(TypedDict):
    """A worker as deploying tools look it up."""

    id: str
    default_environment: ServiceEnvironment


class Removed(TypedDict):
    """What was removed."""

    id: str


class WorkerSecretShape(TypedDict):
    """A secret of a worker, without its text."""

    name: str
    type: str


class InstanceShape(TypedDict):
    """One running instance."""

    id: str
    node: str
    version_id: str
    kind: str
    address: str
    in_flight: int
    age_seconds: float


class InstancesShape(TypedDict):
    """What runs on `nodes`; `silent` ones did not answer; `failures` by version tell why none stays."""

    nodes: list[str]
    silent: list[str]
    instances: list[InstanceShape]
    starting: int
    failures: dict[str, str]
