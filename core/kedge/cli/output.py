"""What commands print."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

COLOURS = {
    "success": "green",
    "fail": "red",
    "terminated": "red",
    "cancelled": "yellow",
    "skipped": "bright_black",
    "queued": "bright_black",
    "initializing": "cyan",
    "running": "cyan",
}


@cache
def console() -> Console:
    """Standard output with colour where it is a terminal."""
    from rich.console import Console  # noqa: PLC0415  (`--json` has no need of it)

    return Console(highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def say(text: str) -> None:
    """A line for people."""
    console().print(text, markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table for people, or `empty` if there is nothing to show."""
    from rich.table import Table  # noqa: PLC0415  (as above)
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell or "")) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        say(empty)


def coloured(word: str) -> Any:
    """A status or outcome in its colour."""
    from rich.text import Text  # noqa: PLC0415  (as above)

    return Text(word, style=COLOURS.get(word, ""))


def ago(iso: str | None) -> str:
    """How long ago a moment was, roughly."""
    if iso is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(int(seconds), 0)} s ago"


def took(start: str | None, end: str | None) -> str:
    """How long something took, or has taken so far."""
    if start is None:
        return ""
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    seconds = (until - datetime.fromisoformat(start)).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
