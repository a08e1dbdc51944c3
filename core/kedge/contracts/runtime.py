"""The seam behind which deployed workers run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from kedge.contracts.compute import ExitCause, Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from kedge.contracts.host import Host

#: where an instance listens, if its address is a Unix socket: `unix:/path`
UNIX = "unix:"
#: what every instance finds in its environment, whatever its author says
GIVEN_VARIABLES = frozenset({"HOST", "PORT", "KEDGE_LOCATION", "KEDGE_VERSION", "KEDGE_WORKER"})


class InstanceKind(StrEnum):
    """What an instance is made of."""

    #: an ASGI application, `module:app`, served by uvicorn
    ASGI = "asgi"
    #: any program that listens on `$PORT`
    COMMAND = "command"
    #: a container image whose program listens on `$PORT`
    IMAGE = "image"


@dataclass(frozen=True, kw_only=True)
class InstanceRequest:
    """All that a runtime needs to start one instance of a version.

    `files` is a folder that other instances share: nobody may change it, and a runtime shows it to the
    instance as its working directory. `cache` is a folder that goes with it, may be written, and may vanish
    between two starts. `egress` is environment too: where outgoing requests go, with credentials.
    `server` is a folder too, given for ASGI: any Python runs its `serve.py`, which serves `entry` on `$PORT`.
    What is in `secrets` and `egress` reaches the instance by a way that neither a process list nor a
    container description shows.
    """

    #: 1 to 64 letters, digits, `-` and `_`; never used twice
    instance_id: str
    account_id: str
    worker: str
    version_id: str
    kind: InstanceKind
    #: `module:app`, or a program and its arguments, in which `$PORT` stands for the port; of an image,
    #: what to run instead of its own program, if anything
    entry: tuple[str, ...] = ()
    files: Path | None = None
    cache: Path | None = None
    server: Path | None = None
    image: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    egress: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    location: str = ""


@dataclass(frozen=True, kw_only=True)
class InstanceExit:
    """How an instance ended."""

    cause: ExitCause
    exit_code: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        """In words."""
        told = {
            ExitCause.SELF: f"exited with code {self.exit_code}",
            ExitCause.OUT_OF_MEMORY: "hit its memory limit",
            ExitCause.STOPPED: "was stopped",
            ExitCause.INFRASTRUCTURE: "was ended from outside",
            ExitCause.REFUSED: "cannot run",
            ExitCause.UNAVAILABLE: "could not run now",
        }[self.cause]
        return f"{told} ({self.detail})" if self.detail else told


class Instance(Protocol):
    """One started instance. Its methods may be called concurrently."""

    @property
    def instance_id(self) -> str:
        """As it was requested."""
        ...

    @property
    def address(self) -> str:
        """Where it listens once it is up: `host:port`, or `unix:/path`. HTTP/1.1 is spoken there."""
        ...

    def output(self) -> AsyncIterator[bytes]:
        """Yield what it writes to standard output and error, as one stream of bytes, in order.

        Called once. Ends when the instance has ended and everything it wrote was yielded. A reader that is
        slow slows the instance down; nothing is lost.
        """
        ...

    async def exited(self) -> InstanceExit:
        """Wait until it has ended and nothing of it is left; tell how. A later call tells the same."""
        ...

    async def stop(self, *, grace: float) -> InstanceExit:
        """Ask it to end, then kill all it has started after `grace` seconds.

        Returns when nothing of it is left. An ended instance is no error, nor is a second call while the
        first is under way. Cancelling the call does not undo it.
        """
        ...


@runtime_checkable
class Runtime(Protocol):
    """A place that runs instances. Registered as a class by `kedge_register_runtime`.

    Methods stand in the order they are called: `start`, then whoever started it waits until its address
    answers, and in the end `Instance.stop`. None blocks the event loop. Instances belong to the node that
    started them and do not outlive it for long: `open` ends those of a node that was killed.
    """

    #: the name that a config file chooses it by
    name: ClassVar[str]
    #: the model of its own config table
    Settings: ClassVar[type[BaseModel]]
    #: what it can run
    kinds: ClassVar[frozenset[InstanceKind]]

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    async def open(self) -> None:
        """Make ready to start instances, and end what an earlier node left. Called once, first."""
        ...

    async def start(self, request: InstanceRequest) -> Instance:
        """Start one instance; return as soon as it is on its way and its address is known.

        Raises `StartRefused` when no retry can help, `CapacityUnavailable` when one may. After an error, and
        after a call that was cancelled, nothing is left running.
        """
        ...

    async def close(self) -> None:
        """End every instance and let go of every resource."""
        ...
