"""Errors as text: stack, extra fields, and every cause, indented."""

from __future__ import annotations

import json
import traceback
from typing import Any

UNSERIALIZABLE = "[unserializable object]"
MOST_CAUSES = 16
INDENT = "  "


def describe_error(error: BaseException) -> str:
    """The stack, then `[fields]`, then `[cause]` for what led to it, recursively."""
    return _describe(error, seen=set(), depth=0)


def _describe(error: BaseException, *, seen: set[int], depth: int) -> str:
    seen.add(id(error))
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__, chain=False)).rstrip()
    lines = [stack]
    fields = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    if fields:
        lines.append(f"[fields]: {to_json(fields)}")
    for cause in _causes(error):
        if id(cause) in seen or depth >= MOST_CAUSES:
            lines.append(f"[cause]: {UNSERIALIZABLE}")
            continue
        text = _describe(cause, seen=seen, depth=depth + 1)
        lines.append("[cause]: " + text.replace("\n", "\n" + INDENT))
    return "\n".join(lines)


def _causes(error: BaseException) -> list[BaseException]:
    members: list[BaseException] = []
    if isinstance(error, BaseExceptionGroup):
        members += error.exceptions
    if error.__cause__ is not None:
        return [*members, error.__cause__]
    if error.__context__ is not None and not error.__suppress_context__:
        return [*members, error.__context__]
    return members


def to_json(value: Any) -> str:
    """`value` as JSON; what cannot be written, circles included, is named as such."""
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except Exception:  # noqa: BLE001  (a value's own __str__ may raise anything)
        return UNSERIALIZABLE
