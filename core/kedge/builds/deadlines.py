"""The moments at which an attempt has failed to do what it should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.contracts.failures import Failure

if TYPE_CHECKING:
    from kedge.config import BuildSettings
    from kedge.db.tables import Attempt

#: a runner watches its own time; Kedge steps in only this much later
OVERTIME_MS = 10_000


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """What is wrong if nothing changes until `moment`."""

    moment: int
    failure: Failure
    message: str


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """An attempt that has passed a deadline."""

    attempt: int
    compute_id: str | None
    #: where it runs
    node: str
    deadline: Deadline


def next_deadline(attempt: Attempt, settings: BuildSettings, *, heard: int) -> Deadline:
    """The earliest deadline of an attempt whose runner was last heard of on this node at `heard`."""
    if attempt.reported_on is None:
        return Deadline(
            moment=attempt.started_on + int(settings.start_timeout * 1000),
            failure=Failure.START,
            message=f"its runner did not report in {settings.start_timeout:g} s",
        )
    silence = Deadline(
        moment=max(attempt.reported_on, attempt.heard_on or 0, heard) + int(settings.silence_timeout * 1000),
        failure=Failure.LOST,
        message=f"its runner was silent for {settings.silence_timeout:g} s",
    )
    overtime = Deadline(
        moment=attempt.reported_on + int(settings.timeout * 1000) + OVERTIME_MS,
        failure=Failure.TIMEOUT,
        message=f"it ran longer than {settings.timeout:g} s",
    )
    return min(silence, overtime, key=lambda deadline: deadline.moment)
