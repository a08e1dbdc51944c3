"""Which versions serve, and how that stands."""

from __future__ import annotations

from typing import Any, NotRequired

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class TrafficShape(TypedDict):
    """How much of the traffic a version gets, in percent."""

    version_id: str
    percentage: float


class StartFailureShape(TypedDict):
    """Why no instance of a version started: the last probes, and the end of what it printed."""

    reason: str
    probes: list[str]
    log_tail: str


class OutcomeShape(TypedDict):
    """How a deployment stands: `starting`, `active` or `failed`."""

    state: str | None
    failure: StartFailureShape | None


def failure_shape(failure: dict[str, Any]) -> StartFailureShape | None:
    """Why a deployment failed, if it did."""
    if not failure:
        return None
    return {"reason": failure["reason"], "probes": failure["probes"], "log_tail": failure["tail"]}


class DeploymentExtra(TypedDict):
    """What Kedge knows of a deployment beyond Workers' API: `starting`, `active` or `failed`."""

    state: str
    failure: StartFailureShape | None


class DeploymentShape(TypedDict):
    """Which versions served from a moment on."""

    id: str
    created_on: str | None
    source: str
    strategy: str
    versions: list[TrafficShape]
    annotations: dict[str, str]
    kedge: DeploymentExtra
    author_email: NotRequired[str]


class DeploymentsShape(TypedDict):
    """Deployments of a worker."""

    deployments: list[DeploymentShape]
