"""Tags that every line written within a context carries.

The carrier is structlog's context variables, which `kedge_tagged` uses too: what one binds the other shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

#: release node location request account worker build attempt
TAGS = frozenset({"release", "node", "location", "request", "account", "worker", "build", "attempt"})


def bound(**tags: object) -> AbstractContextManager[None]:
    """Bind tags until the end of the `with` block, in this task and those it starts."""
    return bound_contextvars(**tags)
