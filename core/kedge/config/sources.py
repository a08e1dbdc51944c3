"""Where each setting was written, for messages that send the reader to the right place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]

PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
DOTTED = rf"{PART}(?:\s*\.\s*{PART})*"
HEADER = re.compile(rf"\s*\[\[?\s*({DOTTED})\s*\]")
KEY = re.compile(rf"\s*({DOTTED})\s*=")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Remembers which file, variables and options the settings came from."""

    file: Path | None = None
    text: str = field(default="", repr=False)
    #: paths that did not come from the file, with the name of what they came from
    origins: Mapping[KeyPath, str] = field(default_factory=dict)

    @property
    def base_dir(self) -> Path:
        """What relative paths in the file start from."""
        return self.file.absolute().parent if self.file else Path.cwd()

    def origin(self, path: KeyPath) -> str | None:
        """The variable or option that set `path` (or a part of it), or `None` for the file."""
        for known, origin in self.origins.items():
            shorter = min(len(known), len(path))
            if known[:shorter] == path[:shorter]:
                return origin
        return None

    def where(self, path: KeyPath) -> str:
        """`kedge.toml:12`, the name of a variable, or `settings` when there is nothing to point at."""
        origin = self.origin(path)
        if origin is not None:
            return origin
        if self.file is None:
            return "settings"
        line = self._line(path)
        return f"{self.file}:{line}" if line else str(self.file)

    def _line(self, path: KeyPath) -> int | None:
        lines = dict(_lines(self.text))
        for end in range(len(path), 0, -1):
            if path[:end] in lines:
                return lines[path[:end]]
        return None


def _lines(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Every key and table header with its line: a look, not a parse (tomllib keeps no places)."""
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = _parts(header[1])
            yield table, number
        elif key := KEY.match(line):
            yield table + _parts(key[1]), number


def _parts(dotted: str) -> KeyPath:
    return tuple(part.strip("\"'") for part in re.findall(PART, dotted))
