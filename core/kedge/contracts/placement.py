"""The seam that decides where a build runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from kedge.contracts.host import Host


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A place that could run a build."""

    location: str
    compute: str
    #: attempts that it runs now
    running: int


@dataclass(frozen=True, kw_only=True)
class PlacementRequest:
    """A build that wants a place."""

    build_uuid: str
    account: str
    worker: str
    production: bool


@runtime_checkable
class Placement(Protocol):
    """One named strategy in the chain. Registered as a class by `kedge_register_placement`.

    Called on the event loop with values only: no strategy does input or output here.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    def approve(self, request: PlacementRequest, candidate: Candidate) -> str | None:
        """`None` if the candidate will do and is now counted on, else the reason why not."""
        ...

    def order(self, request: PlacementRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates, best first; equals keep their order."""
        ...

    def release(self, request: PlacementRequest, candidate: Candidate) -> None:
        """Take back an `approve`: a later strategy refused, or the build is over."""
        ...
