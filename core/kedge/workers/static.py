"""What a request for one version is answered with, worked out without touching a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.workers.content_types import content_type
from kedge.workers.paths import Elsewhere, decode, find
from kedge.workers.ranges import Unsatisfiable, names_tag, parse_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.workers.manifest import File
    from kedge.workers.paths import Found

Headers = list[tuple[bytes, bytes]]

CACHE = (b"cache-control", b"public, max-age=0, must-revalidate")
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
RANGES = (b"accept-ranges", b"bytes")
METHODS = {"GET", "HEAD"}


@dataclass(frozen=True)
class Ask:
    """The part of a request that matters."""

    method: str
    raw_path: bytes
    query: bytes
    if_none_match: bytes
    range: bytes
    if_range: bytes


@dataclass(frozen=True)
class Part:
    """The bytes of a content that are to be sent."""

    file: File
    start: int
    end: int


@dataclass(frozen=True)
class Reply:
    """An answer whose body is either at hand or part of a stored content."""

    status: int
    headers: Headers
    body: bytes = b""
    part: Part | None = None


def answer(files: Mapping[str, File], ask: Ask) -> Reply:
    """Answer a request from the files of one version."""
    path = decode(ask.raw_path)
    if path is None:
        return plain(400, "This address cannot be understood.\n")
    found = find(files, path)
    if found is None:
        return plain(404, "There is nothing at this address.\n", CACHE)
    if isinstance(found, Elsewhere):
        location = found.location.encode() + (b"?" + ask.query if ask.query else b"")
        return plain(307, "", CACHE, (b"location", location))
    return _file(found, ask)


def plain(status: int, text: str, *headers: tuple[bytes, bytes]) -> Reply:
    """A short answer in plain text: nothing in it can be taken for markup."""
    body = text.encode()
    common = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        NO_SNIFFING,
    ]
    return Reply(status, [*common, *headers], body)


def _file(found: Found, ask: Ask) -> Reply:
    file = found.file
    common = [(b"content-type", content_type(found.path)), NO_SNIFFING, CACHE]
    if found.status != 200:
        return _part(found.status, common, file, 0, file.size)
    tag = b'"%s"' % file.sha256.encode()
    common += [(b"etag", tag), RANGES]
    if ask.if_none_match and names_tag(ask.if_none_match, tag):
        return Reply(304, common[1:])
    if ask.range and ask.method == "GET" and ask.if_range in {b"", tag}:
        return _range(common, file, ask)
    return _part(200, common, file, 0, file.size)


def _range(common: Headers, file: File, ask: Ask) -> Reply:
    try:
        wanted = parse_range(ask.range, file.size)
    except Unsatisfiable:
        return plain(416, "", RANGES, (b"content-range", b"bytes */%d" % file.size))
    if wanted is None:
        return _part(200, common, file, 0, file.size)
    start, end = wanted
    span = (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, file.size))
    return _part(206, [*common, span], file, start, end)


def _part(status: int, headers: Headers, file: File, start: int, end: int) -> Reply:
    return Reply(
        status,
        [*headers, (b"content-length", b"%d" % (end - start))],
        part=Part(file, start, end) if end > start else None,
    )
