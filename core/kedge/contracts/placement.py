"""The seam that decides where a build runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pydantic import BaseModel

    from kedge.contracts.host import Host


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A place that could run a build."""

    location: str
    compute: str
    #: attempts that it runs now
    running: int
    #: of these, those of each account, by its name
    accounts: Mapping[str, int] = field(default_factory=dict)
    #: processes that wait for or use a processor, for each processor of its least busy node, if that is known
    load: float | None = None
    #: `HOST:PORT` → milliseconds there and back, as far as it was measured; see `Placement.targets`
    distances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlacementRequest:
    """A build that wants a place."""

    build_uuid: str
    account: str
    worker: str
    production: bool
    #: location → when a build of this worker ended well there, the last time, in milliseconds since 1970
    built: Mapping[str, int] = field(default_factory=dict)
    #: other accounts whose builds wait
    others_wait: int = 0
    #: `HOST:PORT` that it will talk to, as far as that is known → about how many round trips it waits for
    talks_to: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Placement(Protocol):
    """One named strategy in the chain. Registered as a class by `kedge_register_placement`.

    Called on the event loop with values only: no strategy does input or output here. What it is told is all
    it goes by: how many builds run where is counted anew for every question, those of other nodes and those
    placed a moment ago included, and an answer may not be heeded. So there is nothing to keep count of.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    @property
    def targets(self) -> Collection[str]:
        """Each `HOST:PORT` that it wants to know in `Candidate.distances`, besides what builds talk to."""
        ...

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """`None` if the candidate will do, else the reason why not."""
        ...

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates, best first; equals keep their order."""
        ...
