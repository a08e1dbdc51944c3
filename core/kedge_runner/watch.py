"""Says when a build has to end early."""

from __future__ import annotations

import time

from kedge_runner.errors import Cancelled, Stale, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge_runner.bell import Bell
    from kedge_runner.sender import Sender

#: of the time that compute gives a build to end, the part that its commands get; the rest is for the log
SHARE = 0.8


class Watch:
    """Asked whenever the bell has rung and whenever a command has been waited for."""

    def __init__(self, bell: Bell, sender: Sender, *, timeout: float, grace: float) -> None:
        """The time runs from now on. `grace` is the time between asking a command to end and killing it."""
        self.bell = bell
        self.sender = sender
        self.deadline = time.monotonic() + timeout
        self.grace = grace * SHARE
        self.cancelled = False

    @property
    def remaining(self) -> float:
        """Seconds until the time is up."""
        return max(self.deadline - time.monotonic(), 0.0)

    def cancel(self) -> None:
        """End the build. Safe in a signal handler."""
        self.cancelled = True
        self.bell.ring()

    def check(self) -> None:
        """Raise `Stale`, `Cancelled` or `TimedOut` if it is time to."""
        if self.sender.broken is not None:
            raise Stale(str(self.sender.broken))
        if self.cancelled or self.sender.cancel_requested:
            raise Cancelled
        if time.monotonic() >= self.deadline:
            raise TimedOut
