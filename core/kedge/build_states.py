"""The statuses and outcomes of a build, and the moves that are allowed between them."""

from __future__ import annotations

from enum import StrEnum

from kedge.errors import IllegalMove


class Status(StrEnum):
    """Where a build is."""

    #: waits for its turn, or for its attempt to be started
    QUEUED = "queued"
    #: its runner has reported in
    INITIALIZING = "initializing"
    #: its runner works on the user's commands
    RUNNING = "running"
    #: it has ended; `Outcome` tells how
    STOPPED = "stopped"


class Outcome(StrEnum):
    """How a build ended."""

    SUCCESS = "success"
    #: a command failed
    FAIL = "fail"
    #: never ran: superseded, or a rule said not to
    SKIPPED = "skipped"
    #: a user ended it
    CANCELLED = "cancelled"
    #: the platform ended it: too long, lost
    TERMINATED = "terminated"


#: a retried build goes back from any status to `queued`
MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.INITIALIZING, Status.STOPPED}),
    Status.INITIALIZING: frozenset({Status.RUNNING, Status.STOPPED, Status.QUEUED}),
    Status.RUNNING: frozenset({Status.STOPPED, Status.QUEUED}),
    Status.STOPPED: frozenset({Status.QUEUED}),
}


def check_move(present: str, wanted: Status) -> None:
    """Raise `IllegalMove` unless a build may go from `present` to `wanted`."""
    if wanted not in MOVES[Status(present)]:
        raise IllegalMove(f"a build that is {present} cannot become {wanted}")
