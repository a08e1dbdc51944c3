"""The logger: one record per call, with the tags of the context and its own."""

from __future__ import annotations

import copy
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from kedge_tagged.context import LEVELS, check_level, current
from kedge_tagged.errors import UNSERIALIZABLE, describe_error, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping


class TaggedLogger:
    """Immutable: `with_…` returns another logger and leaves this one as it is."""

    def __init__(
        self,
        source: str | None = None,
        *,
        minimum_level: str = "debug",
        debug: bool = False,
        target: Any = None,
    ) -> None:
        """Write to `target` (anything with `msg(text)`); by default structlog's on standard error.

        With `debug` it says so when tags are set where there is no context.
        """
        self._source = source
        self._minimum = check_level(minimum_level)
        self._debug = debug
        self._target = target or structlog.PrintLogger(sys.stderr)
        self._level: str | None = None
        self._tags: Mapping[str, Any] = {}
        self._fields: Mapping[str, Any] = {}

    def with_tags(self, **tags: Any) -> TaggedLogger:
        """A logger with more tags, which win over the context's."""
        return self._copy(_tags={**self._tags, **copy.deepcopy(tags)})

    def with_fields(self, **fields: Any) -> TaggedLogger:
        """A logger with more top-level fields; they may overwrite any but the message."""
        return self._copy(_fields={**self._fields, **copy.deepcopy(fields)})

    def with_log_level(self, level: str) -> TaggedLogger:
        """A logger with a least level of its own, which wins over the context's."""
        return self._copy(_level=check_level(level))

    def set_tags(self, **tags: Any) -> None:
        """Merge tags into the present context."""
        from kedge_tagged.context import set_tags  # noqa: PLC0415  (same name)

        if current() is None and self._debug:
            self._write("debug", ("set_tags has no effect outside of with_log_tags",))
        set_tags(**tags)

    def get_tags(self) -> dict[str, Any]:
        """The context's tags and this logger's own."""
        context = current()
        return {**(context.tags if context else {}), **self._tags}

    def debug(self, *messages: Any) -> None:
        """Write at level debug."""
        self._write("debug", messages)

    def info(self, *messages: Any) -> None:
        """Write at level info."""
        self._write("info", messages)

    def log(self, *messages: Any) -> None:
        """Write at level log, which counts as info."""
        self._write("log", messages)

    def warn(self, *messages: Any) -> None:
        """Write at level warn."""
        self._write("warn", messages)

    def warning(self, *messages: Any) -> None:
        """Write at level warn, by the name that Python's own loggers give it."""
        self._write("warn", messages)

    def error(self, *messages: Any) -> None:
        """Write at level error."""
        self._write("error", messages)

    def exception(self, *messages: Any) -> None:
        """Write at level error, with the error that is being handled."""
        self._write("error", (*messages, sys.exception()))

    def _write(self, level: str, messages: tuple[Any, ...]) -> None:
        context = current()
        explicit = self._level or (context.level if context else None)
        if LEVELS[level] < LEVELS[explicit or self._minimum]:
            return
        record: dict[str, Any] = {
            "message": " ".join(_text(message) for message in messages if message is not None),
            "level": level,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "tags": {**_logger_tags(self._source, explicit), **self.get_tags()},
            **{name: value for name, value in self._fields.items() if name != "message"},
        }
        self._target.msg(_line(record))

    def _copy(self, **changes: Any) -> TaggedLogger:
        other = copy.copy(self)
        other.__dict__.update(changes)
        return other


def get_logger(source: str | None = None, **options: Any) -> TaggedLogger:
    """A logger. `source` names what writes; without it the context's source does."""
    return TaggedLogger(source, **options)


def _logger_tags(source: str | None, explicit_level: str | None) -> dict[str, Any]:
    context = current()
    values = {
        "source": source or (context.source if context else None),
        "$logger.method": context.method if context else None,
        "$logger.rootMethod": context.root_method if context else None,
        "$logger.level": explicit_level,
    }
    return {name: value for name, value in values.items() if value is not None}


def _text(message: Any) -> str:
    if isinstance(message, str):
        return message
    if isinstance(message, BaseException):
        return describe_error(message)
    return to_json(message)


def _line(record: dict[str, Any]) -> str:
    try:
        return json.dumps(record, default=str, ensure_ascii=False)
    except Exception:  # noqa: BLE001  (a value's own __str__ may raise anything)
        if isinstance(record["tags"], dict):
            record["tags"] = {name: _writable(value) for name, value in record["tags"].items()}
        return json.dumps({name: _writable(value) for name, value in record.items()}, default=str)


def _writable(value: Any) -> Any:
    return UNSERIALIZABLE if to_json(value) == UNSERIALIZABLE else value
