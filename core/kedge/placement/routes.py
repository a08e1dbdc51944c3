"""Patterns of paths, so that what was learnt of one request counts for others like it."""

from __future__ import annotations

import re
from functools import lru_cache

#: parts of a path that name one thing of many: numbers, UUIDs, hashes, long tokens
ONE_OF_MANY = re.compile(r"\d+|[0-9a-f]{8,}|[0-9a-fA-F-]{32,}|[A-Za-z0-9_-]{24,}", re.ASCII)
DEEPEST = 3
LONGEST_PART = 32
#: paths that are remembered, and how long they may be
REMEMBERED, LONGEST = 4096, 200


def route_of(path: str) -> str:
    """The pattern of a path: its first parts, with `*` for what names one of many and for the rest."""
    return _remembered(path) if len(path) <= LONGEST else _pattern(path)


def _pattern(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    shown = ["*" if ONE_OF_MANY.fullmatch(part) else part[:LONGEST_PART] for part in parts[:DEEPEST]]
    rest = ["*"] if len(parts) > DEEPEST else []
    return "/" + "/".join([*shown, *rest])


_remembered = lru_cache(REMEMBERED)(_pattern)
