"""Tags that every line written within a context carries.

The carrier is structlog's context variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def bound(**tags: object) -> AbstractContextManager[None]:
    """Bind tags until the end of the `with` block, in this task and those it starts."""
    return bound_contextvars(**tags)
