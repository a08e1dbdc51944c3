"""Sets up structlog, and the standard library's logging to go the same way."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import orjson
import structlog

from kedge.observe.redaction import redact
from kedge.terminal import TerminalFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import EventDict

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: what foreign libraries have to say below this is of no use to an operator
FOREIGN_LEVEL = logging.WARNING


def configure(
    *,
    processors: Sequence[Callable[..., Any]],
    format: Literal["auto", "json", "console"],  # noqa: A002  (the setting's name)
    level: str,
    **tags: str,
) -> None:
    """Write to stderr from now on, with `tags` on every line and plugins' `processors` before rendering.

    `auto` is a readable form on a terminal and a line of JSON elsewhere.
    """
    readable = format == "console" or (format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        _bind(tags),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *processors,
        redact,
    ]
    renderer = _console() if readable else _json()
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _route_foreign(shared, renderer)


def _bind(tags: dict[str, str]) -> Callable[..., Any]:
    """Merge the context's tags. Threads without a context, a library's too, get `tags` as well."""

    def merge(logger: Any, method: str, event: EventDict) -> EventDict:
        context = structlog.contextvars.get_contextvars()
        structlog.contextvars.bind_contextvars(**{k: v for k, v in tags.items() if k not in context})
        return structlog.contextvars.merge_contextvars(logger, method, event)

    return merge


def _console() -> list[Any]:
    coloured = sys.stderr.isatty()

    def safe(logger: Any, method: str, line: Any) -> str:  # noqa: ARG001  (structlog calls it)
        return TerminalFilter(colour=coloured).feed(str(line))

    return [structlog.dev.ConsoleRenderer(colors=coloured), safe]


def _json() -> list[Any]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]


def _dumps(value: Any, **_: Any) -> str:
    try:
        return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a character, a huge number or a circle: the line is worth more than its form
        return json.dumps({name: one if isinstance(one, str) else repr(one) for name, one in value.items()})


def _route_foreign(shared: list[Any], renderer: list[Any]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(FOREIGN_LEVEL)
