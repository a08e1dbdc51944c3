"""A structured logger whose tags follow the context. Needs structlog and nothing of Kedge.

from kedge_tagged import get_logger, set_tags, with_log_tags

log = get_logger()

with with_log_tags("checkout", tenant="acme"):
    set_tags(order=17)
    log.info("paid")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from kedge_tagged.context import get_tags, set_log_level, set_tags
from kedge_tagged.decorate import with_log_tags
from kedge_tagged.logger import TaggedLogger, get_logger
from kedge_tagged.middleware import TagsMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "TaggedLogger",
    "TagsMiddleware",
    "get_logger",
    "get_tags",
    "set_log_level",
    "set_tags",
    "with_log_tags",
]

hookimpl = pluggy.HookimplMarker("kedge")


@hookimpl
def kedge_register_log_processors() -> Sequence[Callable[..., Any]]:
    """Tags in a field of their own, and errors with their causes."""
    from kedge_tagged.processors import collect_tags, render_errors  # noqa: PLC0415  (only Kedge asks)

    return [collect_tags, render_errors]
