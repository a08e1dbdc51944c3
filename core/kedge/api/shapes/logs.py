"""Log lines, and what a runner that sends them is told."""

from __future__ import annotations

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class LogPageShape(TypedDict):
    """Lines, each with the second it was printed in; with `truncated` there is more behind `cursor` now."""

    lines: list[tuple[int, str]]
    cursor: str
    truncated: bool


class OrderShape(TypedDict):
    """Whether a runner should cancel."""

    cancel: bool


class AppendedShape(OrderShape):
    """Which chunk of log a runner sends next."""

    next: int
