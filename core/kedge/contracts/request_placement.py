"""The seam that decides where a worker's requests run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from kedge.contracts.host import Host


class PlacementStatus(StrEnum):
    """How the placement of a worker stands, in the words of Cloudflare's API."""

    #: it is known where its requests are answered fastest
    SUCCESS = "SUCCESS"
    #: too little traffic to tell
    INSUFFICIENT_INVOCATIONS = "INSUFFICIENT_INVOCATIONS"
    #: it was placed, that measured slower, and it was taken back
    UNSUPPORTED_APPLICATION = "UNSUPPORTED_APPLICATION"


@dataclass(frozen=True, kw_only=True)
class BackEndCall:
    """One call to a back end, as the egress proxy saw it.

    `rounds` counts the times that a message went there and an answer came back, the connect included. A call
    whose answer the response did not wait for has `awaited` false.
    """

    host: str
    duration_ms: float
    rounds: int = 1
    awaited: bool = True


@dataclass(frozen=True, kw_only=True)
class ServedRequest:
    """One request that was answered, as seen at the location where it came in."""

    worker: str
    #: the pattern that the request's path fits
    route: str
    #: where the request came in
    entry: str
    #: where it ran
    location: str
    #: from the arrival of the request to the last byte of the answer
    duration_ms: float
    #: false for the part of the traffic that is left alone to compare with
    placed: bool = True
    #: the calls, one after the other; those that overlapped in time stand together
    calls: Sequence[Sequence[BackEndCall]] = ()


@dataclass(frozen=True, kw_only=True)
class ChosenLocation:
    """Where one request runs."""

    location: str
    #: whether that was decided for it, rather than left alone
    placed: bool
    #: whether the same holds for every request of the route, and so need not be asked again, until the policy
    #: is called for anything but `choose`, `record` and `measured`
    lasting: bool = False


@dataclass(frozen=True, kw_only=True)
class WeighedLocation:
    """A candidate as it was last weighed. Durations are milliseconds; `None`: not known."""

    location: str
    expected_ms: float | None
    observed_ms: float | None = None
    requests: int = 0
    #: why it cannot be chosen
    refused: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlacementExplanation:
    """Why the requests of one route that come in at one location run where they run."""

    route: str
    entry: str
    location: str
    status: PlacementStatus
    reason: str
    invocations: int
    #: back end → round trips of an invocation that wait for it
    rounds: dict[str, float] = field(default_factory=dict)
    #: back end → why it does not count
    excluded: dict[str, str] = field(default_factory=dict)
    #: location → share of the requests that run there for a while, to see whether they are faster
    tried: dict[str, float] = field(default_factory=dict)
    candidates: Sequence[WeighedLocation] = ()


@runtime_checkable
class RequestPlacement(Protocol):
    """Decides where requests run. Registered as a class by `kedge_register_request_placement`.

    Called on the event loop with values only: it does no input or output. Times are seconds of one clock
    that never goes back.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; know nothing yet."""
        ...

    def choose(self, worker: str, route: str, entry: str) -> ChosenLocation:
        """Where the next request runs. Called for each, unless the answer lasts: takes microseconds."""
        ...

    def record(self, served: ServedRequest) -> None:
        """Learn from an answered request. Called for each that is measured: takes microseconds."""
        ...

    def measured(self, source: str, target: str, rtt_ms: float) -> None:
        """Learn a round-trip time from a location to a back end, or to another location."""
        ...

    def set_locations(self, alive: Sequence[str]) -> None:
        """These locations can run requests now; whatever is placed elsewhere leaves at once."""
        ...

    def review(self, now: float) -> list[PlacementExplanation]:
        """Decide anew from what was learnt; return what changed. Called every few seconds."""
        ...

    def explain(self, worker: str) -> list[PlacementExplanation]:
        """Why each route of a worker runs where it runs, for each location that its requests come in at."""
        ...

    def dump(self, worker: str) -> Mapping[str, Any] | None:
        """All that is known of a worker, in JSON values of at most 64 KiB; `None` if nothing is.

        No moments are in it but ages: what it is given to may have another clock.
        """
        ...

    def load(self, worker: str, state: Mapping[str, Any], *, now: float, age: float) -> None:
        """Know again what `dump` gave `age` seconds ago. What is known of the worker already stays.

        Raises `InvalidInput` for what this policy did not write.
        """
        ...

    def forget(self, worker: str) -> None:
        """The worker was deployed anew or is gone: what was learnt of it may be wrong now."""
        ...
