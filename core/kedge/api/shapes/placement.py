"""Where workers run, and why."""

from __future__ import annotations

from typing import Any

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class PlacementShape(TypedDict, total=False):
    """Where a worker shall run, as its author said, and how that stands. Empty: where requests come in."""

    mode: str
    hint: str
    region: str
    host: str
    hostname: str
    status: str
    last_analyzed_at: str


class SettingsShape(TypedDict):
    """What can be changed about a worker without its files."""

    placement: PlacementShape


class RegionShape(TypedDict):
    """A region of a provider that a location lies in."""

    id: str
    locations: list[str]


class ProviderShape(TypedDict):
    """A provider, and which of its regions there are locations in."""

    id: str
    regions: list[RegionShape]


class ProvidersShape(TypedDict):
    """What `placement.region` can name, as `PROVIDER:REGION`."""

    providers: list[ProviderShape]


class ExplanationsShape(TypedDict):
    """Where a worker's requests run that come in at one location, by route, and why."""

    location: str
    locations: list[str]
    #: whether a policy places requests there at all
    smart: bool
    placement_status: str | None
    routes: list[dict[str, Any]]


class DurationsShape(TypedDict):
    """How long a worker's requests took that came in at one location."""

    location: str
    series: list[dict[str, Any]]


class DatabaseWayShape(TypedDict):
    """A node, how far it is, and how long a transaction from there takes."""

    name: str
    location: str
    database_ms: float | None
    way_ms: float | None


class ControlPlaneShape(TypedDict):
    """Where calls that write are done."""

    location: str
    writes_go_to: str
    expected_here_ms: float | None
    expected_there_ms: float | None
    nodes: list[DatabaseWayShape]
    series: list[dict[str, Any]]
