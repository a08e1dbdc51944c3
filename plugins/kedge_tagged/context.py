"""The tags of the present context: copied into each task and thread that is given it, never shared."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEVELS = {"debug": 10, "info": 20, "log": 20, "warn": 30, "warning": 30, "error": 40}


@dataclass(frozen=True, kw_only=True)
class Context:
    """One context. It is replaced, never changed, so that no other context can see a change."""

    source: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    level: str | None = None
    method: str | None = None
    root_method: str | None = None


_current: ContextVar[Context | None] = ContextVar("kedge_tagged", default=None)


def current() -> Context | None:
    """The present context, if there is one."""
    return _current.get()


def set_tags(**tags: Any) -> None:
    """Merge copies of `tags` into the present context; without a context nothing happens."""
    context = _current.get()
    if context is not None:
        _current.set(replace(context, tags={**context.tags, **copy.deepcopy(tags)}))


def get_tags() -> dict[str, Any]:
    """A copy of the tags of the present context."""
    context = _current.get()
    return {} if context is None else copy.deepcopy(dict(context.tags))


def set_log_level(level: str) -> None:
    """The least level that is written in the present context; without a context nothing happens."""
    context = _current.get()
    if context is not None:
        _current.set(replace(context, level=check_level(level)))


def check_level(level: str) -> str:
    """`level` if it is one. Raises `ValueError`."""
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level; choose one of {', '.join(LEVELS)}")
    return level


@contextmanager
def child(*, source: str | None, tags: Mapping[str, Any], method: str | None = None) -> Iterator[None]:
    """A context with a copy of the parent's tags; neither sees what the other changes later."""
    parent = _current.get() or Context()
    token = _current.set(
        Context(
            source=source or parent.source,
            tags={**parent.tags, **copy.deepcopy(dict(tags))},
            level=parent.level,
            method=method or parent.method,
            root_method=parent.root_method or method,
        )
    )
    try:
        yield
    finally:
        _current.reset(token)
