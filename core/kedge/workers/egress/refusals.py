"""What instances are told that are not led where they want to."""

from __future__ import annotations

import structlog

from kedge.workers.egress.targets import NotAllowed
from kedge.workers.relay.relay import NoAnswer

log = structlog.get_logger("egress")

WHO = "send the credentials of HTTP_PROXY"
CROWDED = "there are too many connections of this instance, or of all; end some"


def in_words(error: Exception) -> tuple[int, str]:
    """The status and the text for an error of the way there."""
    if isinstance(error, NotAllowed):
        log.warning("egress_refused", reason=str(error))
        return 403, str(error)
    if isinstance(error, NoAnswer):
        return 504 if error.late else 502, str(error)
    if isinstance(error, TimeoutError):
        return 504, "it does not take connections"
    return 502, f"it cannot be reached ({getattr(error, 'strerror', None) or error})"
