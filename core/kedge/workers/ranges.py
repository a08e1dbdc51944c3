"""HTTP's conditions and ranges (RFC 9110), as far as one file needs them."""

from __future__ import annotations

import re

_RANGE = re.compile(rb"bytes\s*=\s*(\d*)\s*-\s*(\d*)", re.IGNORECASE)
_BLANKS = b" \t"
_LONGEST = 64


class Unsatisfiable(ValueError):
    """The range asked for lies outside the file, or is none."""


def parse_range(header: bytes, size: int) -> tuple[int, int] | None:
    """The bytes from and up to (exclusive) that are asked for; `None` to send the whole.

    Several ranges, other units and what is too long for a range get the whole. Raises `Unsatisfiable`.
    """
    value = header.strip(_BLANKS)
    if len(value) > _LONGEST or b"," in value or not value.lower().startswith(b"bytes"):
        return None
    match = _RANGE.fullmatch(value)
    if match is None or match.groups() == (b"", b""):
        raise Unsatisfiable
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise Unsatisfiable
    return start, end


def names_tag(header: bytes, tag: bytes) -> bool:
    """Whether an `If-None-Match` names the entity tag; weak ones count."""
    return header.strip(_BLANKS) == b"*" or tag in map(_strong, header.split(b","))


def _strong(tag: bytes) -> bytes:
    return tag.strip(_BLANKS).removeprefix(b"W/")
