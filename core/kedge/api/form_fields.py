"""A value that a client spread over fields of a form: `a[b][c]` is `c` of `b` of `a`, `a[]` one of a list."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = re.compile(r"[^\[\]]+((?:\[[^\[\]]*\]){1,8})")


def gather(fields: Iterable[tuple[str, str]]) -> Any:
    """The value whose parts `fields` (names and texts) are; their names begin alike.

    A name that comes again means the next object of a list. Raises `InvalidInput` for a name that is none,
    or that contradicts another.
    """
    root: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for name, text in fields:
        shaped = NAME.fullmatch(name)
        if shaped is None:
            raise InvalidInput(f"{name[:80]!r} is no name of a field, such as settings[placement][mode]")
        keys = [key or f"[{seen[name]}]" for key in shaped[1][1:-1].split("][")]
        seen[name] += 1
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise _contradiction(name)
        if keys[-1] in node:
            raise _contradiction(name)
        node[keys[-1]] = text
    return _with_lists(root)


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    inner = {key: _with_lists(value) for key, value in node.items()}
    if not any(key.startswith("[") for key in inner):
        return inner
    if not all(key.startswith("[") for key in inner):
        raise InvalidInput("what a form calls a list cannot have names too")
    return list(inner.values())


def _contradiction(name: str) -> InvalidInput:
    return InvalidInput(f"the field {name[:80]!r} contradicts another of the form")
