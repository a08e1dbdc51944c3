"""Which headers go through, and which are added."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]

#: they concern one connection, not what is said over it (RFC 9110, 7.6.1)
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
#: what a visitor says of himself; Kedge says it anew
FORWARDED = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
#: the server says it of every answer, once
DATE = frozenset({b"date"})
NOT_FOR_INSTANCES = HOP_BY_HOP | FORWARDED | {b"x-request-id"}
NOT_FOR_VISITORS = HOP_BY_HOP | DATE
#: what only Kedge may say
OWN = b"kedge-"
WAIT_UNTIL = b"kedge-wait-until"
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Visitor(NamedTuple):
    """Who asked, and how he reached us."""

    address: str
    scheme: str
    host: bytes


def request_headers(headers: Iterable[Header], visitor: Visitor, request_id: bytes) -> list[Header]:
    """What an instance is told: the visitor's headers, less what is not for it, and who he is."""
    kept = _without(NOT_FOR_INSTANCES, list(headers))
    address = visitor.address.encode()
    kept.append((b"x-forwarded-for", address))
    kept.append((b"x-forwarded-proto", visitor.scheme.encode()))
    kept.append((b"x-forwarded-host", visitor.host))
    kept.append((b"x-real-ip", address))
    kept.append((b"x-request-id", request_id))
    return kept


def response_headers(headers: Sequence[Header]) -> list[Header]:
    """What the visitor is told of an answer."""
    return _without(NOT_FOR_VISITORS, headers)


def find(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The first header of a name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def _without(dropped: frozenset[bytes], headers: Sequence[Header]) -> list[Header]:
    if named := _named_by_connection(headers):
        dropped |= named
    return [header for header in headers if header[0] not in dropped and not header[0].startswith(OWN)]


def _named_by_connection(headers: Sequence[Header]) -> frozenset[bytes]:
    named = [value for name, value in headers if name == b"connection"]
    if not named:
        return frozenset()
    # what frames the message stays, whoever names it: else one side sees another end than the other
    tokens = {token.strip().lower() for value in named for token in value.split(b",")}
    return frozenset(tokens - {b"content-length", b"host"})
