"""What a request has to be like. Whatever two programs could read in two ways is refused."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedge.http.request import Header, Request

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


def check(request: Request, noted: Sequence[Header]) -> None:
    """Note how the request is framed, and for which host it is. Raises `Refused`.

    `noted` are those of its headers that are in `NOTED`. The parser has refused before: lengths that are no
    numbers or more than one, a length beside chunks, folded headers, control characters, lines that end
    without CR LF.
    """
    if request.version not in VERSIONS:
        raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if len(request.headers) > MOST_HEADERS:
        raise Refused(431, f"a request may have {MOST_HEADERS} headers")
    for name, value in noted:
        NOTED[name](request, value)
    if len(noted) != 1 or noted[0][0] != b"host":
        _check_names([name for name, _ in noted], request)
    if request.target[:1] != b"/" or b"#" in request.target:
        _check_target(request)


def _check_names(names: list[bytes], request: Request) -> None:
    if len(names) != len(set(names)):
        raise Refused(400, "a request says once for which host it is, and how it is framed")
    if b"host" not in names and not request.old:
        raise Refused(400, "a request names its host")


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
