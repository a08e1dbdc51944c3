"""The errors that callers and plugins meet, in one tree; some parts have more of their own.

KedgeError
├── ConfigError            the configuration holds mistakes (all of them, each with its place)
├── PluginError            a plugin cannot be found, imported or understood
├── InvalidInput           the request is well-formed but asks for something impossible
├── Unauthorized           no valid token
├── Forbidden              the token is valid but not for this
├── NotFound               nothing of that name or id, or not yours
│   └── BlobNotFound
├── Conflict               it exists already, or its state does not allow this
│   ├── IllegalMove        a build cannot go from this status to that one
│   ├── StaleAttempt       the message comes from an attempt that has been replaced
│   └── LogGap             a log chunk was skipped; `expected` is the number to send next
├── TooLarge               over a limit on size
├── RateLimited            over a limit on rate
├── StoreError
│   ├── StoreRefused       permanent: the bucket, the rights or the clock have to be set right
│   ├── StoreUnavailable   for now: the store is gone, overloaded or full
│   └── BlobDamaged        the bytes are not the ones that were stored
├── ComputeError
│   ├── StartRefused       permanent: starting again gives the same answer
│   └── CapacityUnavailable  for now: the same start may work later
└── ServingError           no instance of a worker can take the request
    ├── InstanceFailed     none starts: `probes` and `tail` tell what was seen of the last one
    └── Overloaded         all are busy, and too many requests wait or this one has waited too long

`code` is stable and is what the REST envelope carries; the message says what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class KedgeError(Exception):
    """Base of every error that Kedge raises on purpose."""

    code: ClassVar[int] = 10000
    status: ClassVar[int] = 500


class ConfigError(KedgeError):
    """The configuration holds one or more mistakes; the message lists all of them."""

    code = 10100

    def __init__(self, mistakes: list[str]) -> None:
        """`mistakes` are sentences, each naming the file and the key's path."""
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


class PluginError(KedgeError):
    """A plugin cannot be found, imported or understood."""

    code = 10200


class InvalidInput(KedgeError):
    """The request is understood but asks for something impossible."""

    code = 12002
    status = 400


class Unauthorized(KedgeError):
    """No token, or none that is known."""

    code = 12005
    status = 401


class Forbidden(KedgeError):
    """The token is known but does not allow this."""

    code = 12006
    status = 403


class NotFound(KedgeError):
    """Nothing of that name or id, or not for the caller's eyes."""

    code = 12000
    status = 404


class BlobNotFound(NotFound):
    """The blob store holds nothing under that key."""


class Conflict(KedgeError):
    """It exists already, or its state does not allow this."""

    code = 12049
    status = 409


class IllegalMove(Conflict):
    """A build cannot go from its present status to the one asked for."""

    code = 12061


class StaleAttempt(Conflict):
    """The message comes from an attempt that has ended or has been replaced."""

    code = 12062


class LogGap(Conflict):
    """A log chunk was skipped."""

    code = 12063

    def __init__(self, expected: int) -> None:
        """`expected` is the number of the chunk to send next."""
        self.expected = expected
        super().__init__(f"chunk {expected} has not arrived yet; send it first")


class TooLarge(KedgeError):
    """Over a limit on size."""

    code = 12064
    status = 413


class RateLimited(KedgeError):
    """Over a limit on rate; try again later."""

    code = 12051
    status = 429


class StoreError(KedgeError):
    """A place that keeps blobs could not do what it was asked."""

    code = 12080


class StoreRefused(StoreError):
    """The store answers, and says no; an operator has to mend what the message names."""

    code = 12081


class StoreUnavailable(StoreError):
    """The store is gone, overloaded or full; the same call may work later."""

    code = 12082
    status = 503


class BlobDamaged(StoreError):
    """The bytes are not the ones that were stored, or not the ones that were sent."""

    code = 12083


class ComputeError(KedgeError):
    """A place that runs builds could not do what it was asked."""

    code = 12070


class StartRefused(ComputeError):
    """The attempt can never start as asked; trying again gives the same answer."""

    code = 12071


class CapacityUnavailable(ComputeError):
    """There is no room now; the same start may work later. The message is the wait reason."""

    code = 12072


class ServingError(KedgeError):
    """No instance of a worker can take the request."""

    code = 12090
    status = 503


class InstanceFailed(ServingError):
    """No instance of the version starts, or stays."""

    code = 12091
    status = 502

    def __init__(
        self,
        reason: str,
        *,
        probes: Sequence[str] = (),
        tail: str = "",
        retry_after: float = 0.0,
        crashed: bool = False,
    ) -> None:
        """`probes` are the last answers to "are you up?", `tail` is the end of what it printed.

        `retry_after` are the seconds until another start is tried; `crashed` is one that had answered.
        """
        self.reason = reason
        self.probes = tuple(probes)
        self.tail = tail
        self.retry_after = retry_after
        self.crashed = crashed
        super().__init__(reason)


class Overloaded(ServingError):
    """All instances are busy."""

    code = 12093
