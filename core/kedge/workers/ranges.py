"""HTTP's conditions and ranges (RFC 9110), as far as one file needs them."""

from __future__ import annotations

import re

_RANGE = re.compile(rb"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)
_TAG = re.compile(rb'\s*(?:W/)?("[^"]*")\s*(?:,|$)')
_MOST_DIGITS = 18


class Unsatisfiable(ValueError):
    """The range asked for lies outside the file, or is none."""


def parse_range(header: bytes, size: int) -> tuple[int, int] | None:
    """The bytes from and up to (exclusive) that are asked for; `None` to send the whole.

    Several ranges and other units get the whole. Raises `Unsatisfiable`.
    """
    if b"," in header or not header.lstrip().lower().startswith(b"bytes"):
        return None
    match = _RANGE.fullmatch(header)
    if match is None or match.groups() == (b"", b""):
        raise Unsatisfiable
    first, last = match.groups()
    if not first:
        start, end = max(size - _number(last), 0), size
    else:
        start, end = _number(first), min(_number(last) + 1, size) if last else size
    if start >= end:
        raise Unsatisfiable
    return start, end


def names_tag(header: bytes, tag: bytes) -> bool:
    """Whether an `If-None-Match` names the entity tag; weak ones count."""
    return header in {tag, b"*"} or header.strip() == b"*" or tag in _TAG.findall(header)


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
