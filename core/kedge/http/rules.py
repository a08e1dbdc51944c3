"""What a request has to be like. Whatever two programs could read in two ways is refused."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.http.request import Request
    from kedge.http.shape import Names

HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=-]*(?::\d{0,5})?|\[[0-9A-Fa-f:.]+\](?::\d{0,5})?")
ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
MOST_HEADERS = 200
VERSIONS = frozenset({"1.1", "1.0"})


class Refused(Exception):
    """The request is answered with this, and nothing that follows it is read."""

    def __init__(self, status: int, reason: str) -> None:
        """`reason` is for people."""
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Framing(NamedTuple):
    """Which headers of a request say how it is framed and for whom it is."""

    #: what notes each of them, and its place
    noted: tuple[tuple[Callable[[Request, bytes], None], int], ...]
    #: whether one of them is there more than once
    doubled: bool
    #: whether it does not say for which host it is
    hostless: bool
    #: whether a header says what becomes of the connection
    connection: bool
    too_many: bool


def framing_of(names: Names) -> Framing:
    """What the names of a request's headers tell of how it is framed."""
    noted = [name for name in names if name in NOTED]
    return Framing(
        tuple((NOTED[name], place) for place, name in enumerate(names) if name in NOTED),
        len(noted) != len(set(noted)),
        b"host" not in noted,
        # the parser takes both for the same
        b"connection" in names or b"proxy-connection" in names,
        len(names) > MOST_HEADERS,
    )


def check(request: Request, framing: Framing) -> None:
    """Note how the request is framed, and for which host it is. Raises `Refused`.

    The parser has refused before: lengths that are no numbers or more than one, a length beside chunks,
    folded headers, control characters, lines that end without CR LF.
    """
    if request.old and request.version not in VERSIONS:
        raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if framing.too_many:
        raise Refused(431, f"a request may have {MOST_HEADERS} headers")
    for note, place in framing.noted:
        note(request, request.values[place])
    if framing.doubled:
        raise Refused(400, "a request says once for which host it is, and how it is framed")
    if framing.hostless and not request.old:
        raise Refused(400, "a request names its host")
    if request.target[:1] != b"/" or b"#" in request.target:
        _check_target(request)


@lru_cache(maxsize=4096)
def is_host(value: bytes) -> bool:
    """Whether a `Host` header can mean a host."""
    return HOST.fullmatch(value) is not None


def _note_host(request: Request, value: bytes) -> None:
    if not is_host(value):
        raise Refused(400, "the host is no name")
    request.host = value


def _note_length(request: Request, value: bytes) -> None:
    request.length = int(value)


def _note_coding(request: Request, value: bytes) -> None:
    if request.old:
        raise Refused(400, "HTTP/1.0 knows no transfer codings")
    if value.strip().lower() != b"chunked":
        raise Refused(501, "the only transfer coding that is known here is chunked")
    request.chunked = True


def _note_expectation(request: Request, value: bytes) -> None:
    if value.strip().lower() != b"100-continue":
        raise Refused(417, "the only expectation that is known here is 100-continue")
    request.expects = not request.old


def _check_target(request: Request) -> None:
    """Any form but the usual one: an absolute one has to name the host that the header names."""
    if request.method == b"CONNECT":
        raise Refused(405, "this is no proxy")
    if request.target == b"*" and request.method == b"OPTIONS":
        return
    match = ABSOLUTE.fullmatch(request.target)
    if match is None:
        raise Refused(400, "the target is no path")
    if match[1].lower() != request.host.lower():
        raise Refused(400, "the target names another host than the header")
    path = match[2]
    request.target = path if path.startswith(b"/") else b"/" + path


#: the headers that say how a request is framed and for whom it is
NOTED: dict[bytes, Callable[[Request, bytes], None]] = {
    b"host": _note_host,
    b"content-length": _note_length,
    b"transfer-encoding": _note_coding,
    b"expect": _note_expectation,
}
