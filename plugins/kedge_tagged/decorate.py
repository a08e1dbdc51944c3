"""`with_log_tags`: a context for a `with` block or for every call of a function."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, overload

from kedge_tagged.context import child, current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F = TypeVar("F", bound="Callable[..., Any]")


@overload
def with_log_tags(source: F) -> F: ...
@overload
def with_log_tags(source: str | None = None, **tags: Any) -> WithLogTags: ...
def with_log_tags(source: Any = None, **tags: Any) -> Any:
    """`with with_log_tags("source", tag=…):`, `@with_log_tags("source", tag=…)` or bare `@with_log_tags`.

    As a decorator of a method the source is the one given, else the context's, else the class's name; the
    method's name is written as `$logger.method`, that of the first such call as `$logger.rootMethod`.
    """
    if source is not None and not isinstance(source, str):
        return WithLogTags(None, {})(source)
    return WithLogTags(source, tags)


class WithLogTags:
    """What `with_log_tags` returns: good for one `with` block, or for any number of functions."""

    def __init__(self, source: str | None, tags: dict[str, Any]) -> None:
        """Remember what to bind."""
        self._source = source
        self._tags = tags
        self._entered: Any = None

    def __enter__(self) -> None:
        """Begin the context."""
        self._entered = child(source=self._source, tags=self._tags)
        self._entered.__enter__()

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._entered.__exit__(*error)

    def __call__(self, function: F) -> F:
        """Run every call of `function` in a context of its own."""
        if isinstance(function, type) or not callable(function):
            raise TypeError("with_log_tags decorates functions and methods, and goes below @classmethod")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                "with_log_tags cannot follow a generator; use it in a with block where it is read"
            )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with self._context(function, args):
                    return await function(*args, **kwargs)

            return call_async  # type: ignore[return-value]

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._context(function, args):
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    @contextmanager
    def _context(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[None]:
        parent = current()
        inherited = parent.source if parent else None
        source = self._source or inherited or _class_name(function, args)
        with child(source=source, tags=self._tags, method=function.__name__):
            yield


def _class_name(function: Callable[..., Any], args: tuple[Any, ...]) -> str | None:
    """The name of the class that a method was called on."""
    if not args or "." not in function.__qualname__:
        return None
    owner = args[0] if isinstance(args[0], type) else type(args[0])
    return owner.__name__ if hasattr(owner, function.__name__) else None
