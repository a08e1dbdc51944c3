"""structlog processors by which Kedge's own lines get their tags and their errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from structlog.contextvars import get_contextvars

from kedge_tagged.context import current
from kedge_tagged.errors import describe_error

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger


def collect_tags(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Gather what structlog's context and ours have bound under `tags`."""
    tags = {name: event.pop(name) for name in get_contextvars() if name in event}
    context = current()
    if context is not None:
        tags |= context.tags
        if context.source is not None:
            event.setdefault("source", context.source)
    if tags:
        event["tags"] = tags
    return event


def render_errors(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn `exc_info` into text with extra fields and every cause."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["error"] = describe_error(found)
    return event
