"""What can go wrong in a runner."""

from __future__ import annotations


class RunnerError(Exception):
    """Base of the runner's errors."""


class Failed(RunnerError):
    """A phase failed. `failure` is its class, the message says what to do, `exit_code` is a command's."""

    def __init__(self, failure: str, message: str, exit_code: int | None = None) -> None:
        """See the class."""
        self.failure = failure
        self.exit_code = exit_code
        super().__init__(message)


class Cancelled(RunnerError):
    """The build is to end now."""


class TimedOut(RunnerError):
    """The build has used up its time."""


class Stale(RunnerError):
    """This attempt is over for Kedge; there is nobody to report to."""


class Refused(RunnerError):
    """Kedge answered a request with an error, or (status 0) could not be reached for too long."""

    def __init__(self, status: int, code: int, message: str, result: object = None) -> None:
        """`code` is the envelope's; `result` what came with it."""
        self.status = status
        self.code = code
        self.result = result
        super().__init__(message)
