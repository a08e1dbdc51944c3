"""Keeps secrets out of the log, should one ever be handed to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

SUSPICIOUS = ("token", "password", "secret", "authorization", "cookie", "credential")
HIDDEN = "[redacted]"
DEEPEST = 8
#: values that are addresses
ADDRESSES = frozenset({"path", "target"})
#: in an address, what follows this is a secret
SECRET_SEGMENT = re.compile(r"(?<=/deploy_hooks/)[^/]+")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: hide every value whose name says that it is secret, in tables too."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: object, value: object, depth: int = 0) -> object:
    if any(word in str(name).lower() for word in SUSPICIOUS):
        return HIDDEN
    if name in ADDRESSES and isinstance(value, str):
        return redact_path(value)
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {inner: _redacted(inner, one, depth + 1) for inner, one in value.items()}
    return value


def redact_path(path: str) -> str:
    """An address as it may stand in a log: without its query, which may say anything."""
    return SECRET_SEGMENT.sub(HIDDEN, path.partition("?")[0])
