"""Keeps secrets out of the log, should one ever be handed to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

SUSPICIOUS = ("token", "password", "secret", "authorization", "cookie", "credential")
HIDDEN = "[redacted]"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: hide every value whose name says that it is secret."""
    for name in event:
        if any(word in name.lower() for word in SUSPICIOUS):
            event[name] = HIDDEN
    return event
