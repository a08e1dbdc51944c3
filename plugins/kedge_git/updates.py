"""What a push asks for: refs that move."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) (refs/[^\0\n]+)")
_BRANCH = "refs/heads/"
#: what `git check-ref-format` refuses; a hook is told of refs before git has checked them
_BAD_NAME = re.compile(
    r"[\x00-\x20\ud800-\udfff\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|(^|/)\.|\.lock(/|$)|^@$"
)


def is_branch_name(name: str) -> bool:
    """Whether git allows a branch of this name; such a name is no option, no path upwards, no expression."""
    return bool(name) and not _BAD_NAME.search(name)


@dataclass(frozen=True, kw_only=True)
class RefUpdate:
    """One ref that moves from `old` (None: it was not there) to `new` (None: it is deleted)."""

    ref: bytes
    old: str | None
    new: str | None

    @property
    def branch(self) -> str | None:
        """The branch's name; None for what is no branch or cannot be written as text."""
        try:
            kind, slash, name = self.ref.decode().partition(_BRANCH)
        except UnicodeDecodeError:
            return None
        return name if slash and not kind and is_branch_name(name) else None


def parse_updates(text: bytes) -> list[RefUpdate]:
    """Read `old new ref` lines as git gives them to hooks; an incomplete last line is left out."""
    lines = text.split(b"\n")[:-1]
    matches = filter(None, map(_LINE.fullmatch, lines))
    return [RefUpdate(ref=found[3], old=_hash(found[1]), new=_hash(found[2])) for found in matches]


def _hash(text: bytes) -> str | None:
    return text.decode() if text.strip(b"0") else None
