"""What commands print."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from kedge.terminal import TerminalFilter, make_safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
#: columns of a line that no table fills
UNBROKEN = 10_000
#: control characters that neither JSON nor TOML has to escape
UNESCAPED = re.compile("[\x7f-\x9f]")


@cache
def console() -> Console:
    """Standard output with colour where it is a terminal."""
    from rich.console import Console  # noqa: PLC0415  (`--json` has no need of it)

    made = Console(highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = UNBROKEN
    return made


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output."""
    print_document(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_json_lines(values: Iterable[Any]) -> None:
    """Each value as a line of JSON, at once."""
    print_document("".join(f"{orjson.dumps(value).decode()}\n" for value in values))
    sys.stdout.flush()


def print_document(text: str) -> None:
    """JSON or TOML; of what drives terminals, what they let stand in a string as it is is escaped."""
    sys.stdout.write(UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


@contextmanager
def terminal() -> Iterator[Callable[[str], None]]:
    """Shows what a program printed, piece by piece, with its colours if there is a terminal."""
    safe = TerminalFilter(colour=sys.stdout.isatty())

    def show(text: str) -> None:
        sys.stdout.write(safe.feed(text))
        sys.stdout.flush()

    try:
        yield show
    finally:
        sys.stdout.write(safe.end())


def say(text: str) -> None:
    """A line for people, as plain text: names and messages in it come from others."""
    console().print(make_safe(text), markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table for people, or `empty` if there is nothing to show. Nothing in it is cut short.

    Long words are broken where a terminal's line ends; what is no terminal has no such end.
    """
    from rich.table import Table  # noqa: PLC0415  (as above)
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(make_safe(str(cell or ""))) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        say(empty)


def coloured(word: str) -> Any:
    """A status or outcome in its colour."""
    from rich.text import Text  # noqa: PLC0415  (as above)

    return Text(make_safe(word), style=COLOURS.get(word, ""))


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
