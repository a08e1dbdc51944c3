"""The seam behind which builds run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pydantic import BaseModel

    from kedge.contracts.host import Host


class Scope(StrEnum):
    """What one instance of a compute backend sees."""

    #: only what this node has started; each node adopts its own
    NODE = "node"
    #: everything that any node has started
    CLUSTER = "cluster"


class ComputeState(StrEnum):
    """Where a started attempt is, as its compute backend sees it."""

    #: accepted, its runner not yet running
    STARTING = "starting"
    #: its runner runs
    RUNNING = "running"
    #: its runner has ended
    EXITED = "exited"
    #: the backend knows nothing of it (any more)
    GONE = "gone"


class ExitCause(StrEnum):
    """Why a runner ended, where the backend can tell."""

    #: the runner ended by itself
    SELF = "self"
    #: a memory limit was hit
    OUT_OF_MEMORY = "out_of_memory"
    #: it was stopped on request
    STOPPED = "stopped"
    #: the machine or the service took it away
    INFRASTRUCTURE = "infrastructure"
    #: it never ran, and no other attempt would: an operator has to mend something
    REFUSED = "refused"
    #: it never ran, for want of something that comes back by itself
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one attempt may use. `None` leaves a limit to the backend, and there to the machine.

    Users ask for some of it, so that no backend gives more than its own settings have.
    """

    memory_bytes: int | None = None
    processes: int | None = None
    cpus: float | None = None
    disk_bytes: int | None = None
    open_files: int | None = None

    def within(self, most: Limits) -> Limits:
        """What is asked for, but no more than `most` has, and what that has where nothing is asked for."""
        return Limits(**{name: _least(asked, getattr(most, name)) for name, asked in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class ComputeRequest:
    """All that a backend needs to start one attempt.

    `endpoint` is where the runner finds Kedge: `http://host:port` or `unix:/path`.
    `token` is good for this attempt alone; a backend hands it to the runner by a way that
    neither a process list nor a container description shows. `trusted` is false for code of
    people who may not push to the repository: a backend that can shuts it in more tightly.
    """

    build_uuid: str
    attempt: int
    endpoint: str
    token: str = field(repr=False)
    trusted: bool = False
    image: str | None = None
    #: the location that placement chose
    location: str = ""
    limits: Limits = field(default_factory=Limits)
    labels: Mapping[str, str] = field(default_factory=dict)

    def assignment(
        self, workspace: str, *, endpoint: str | None = None, relay: bool = False
    ) -> dict[str, Any]:
        """What the runner reads as JSON. It holds the token.

        `endpoint` is where the runner finds Kedge, if that is another place for it; with `relay` it listens
        for tools that cannot speak to a Unix socket.
        """
        return {
            "endpoint": endpoint or self.endpoint,
            "token": self.token,
            "build_uuid": self.build_uuid,
            "attempt": self.attempt,
            "workspace": workspace,
            "relay": relay,
        }


@dataclass(frozen=True, kw_only=True)
class ComputeStatus:
    """What a backend knows of one attempt."""

    compute_id: str
    build_uuid: str
    attempt: int
    state: ComputeState
    exit_code: int | None = None
    cause: ExitCause | None = None
    detail: str = ""


@runtime_checkable
class Compute(Protocol):
    """A place that runs attempts. Registered as a class by `kedge_register_compute`.

    Methods stand in the order they are called. All may be called concurrently for different
    attempts; none blocks the event loop.
    """

    #: the name that a config file chooses it by
    name: ClassVar[str]
    #: the model of its own config table
    Settings: ClassVar[type[BaseModel]]
    #: whether a running attempt survives the end of the node that started it
    adopts: ClassVar[bool]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    @property
    def scope(self) -> Scope:
        """What this instance sees; a class attribute where it is always the same."""
        ...

    async def open(self) -> None:
        """Make ready to start attempts. Called once, before anything else."""
        ...

    async def start(self, request: ComputeRequest) -> str:
        """Start the runner for one attempt and return its compute id.

        Returns as soon as the backend has accepted it. A second call for the same build and
        attempt returns the first one's id and starts nothing. Raises `StartRefused` when no
        retry can help, `CapacityUnavailable` when one may. After an error nothing is left
        running. A cancelled call leaves either nothing or something that `list` shows.
        """
        ...

    async def inspect(self, compute_id: str) -> ComputeStatus:
        """Tell what is known of an attempt; an unknown id has the state `GONE`, never an error."""
        ...

    def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every attempt that ends from now on, adopted ones included, until `close`.

        Called once. An exit may be told twice, and one that happens while nobody listens may be
        missed: `inspect` is the truth.
        """
        ...

    async def stop(self, compute_id: str, *, grace: float) -> None:
        """End an attempt: ask first, then kill all it has started after `grace` seconds.

        Returns when nothing of it is left. An unknown or ended id is no error, nor is a second
        call while the first is under way. Cancelling the call does not undo it.
        """
        ...

    async def list(self) -> list[ComputeStatus]:
        """All attempts within `scope` that have not been stopped or forgotten, ended ones included.

        Raises `CapacityUnavailable` if that cannot be known now.
        """
        ...

    async def forget(self, compute_id: str) -> None:
        """Free what an ended attempt still holds (its workspace, its container). Safe twice."""
        ...

    async def close(self) -> None:
        """Let go of every resource but leave running attempts running if `adopts`, else end them."""
        ...


def _least(*limits: float | None) -> Any:
    """The smaller of two, of which either may be none; to some engines 0 is no limit either."""
    return min((limit for limit in limits if limit), default=None)
