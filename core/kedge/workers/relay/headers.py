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
#: values of `Connection` that name no header
USUAL = frozenset({b"keep-alive", b"close"})
FRAMING = frozenset({b"content-length", b"host"})
#: how the names of headers begin that only Kedge may say
OWN = b"kedge-"
WAIT_UNTIL = b"kedge-wait-until"
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Visitor(NamedTuple):
    """Who asked, and how he reached us."""

    address: str
    scheme: str
    host: bytes


def request_headers(headers: Sequence[Header], visitor: Visitor, request_id: bytes) -> list[Header]:
    """What an instance is told: the visitor's headers, less what is not for it, and who he is."""
    kept = _without(NOT_FOR_INSTANCES, headers)
    address = visitor.address.encode()
    kept += (
        (b"x-forwarded-for", address),
        (b"x-forwarded-proto", visitor.scheme.encode()),
        (b"x-forwarded-host", visitor.host),
        (b"x-real-ip", address),
        (b"x-request-id", request_id),
    )
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
    for name, value in headers:
        if name == b"connection" and value.lower() not in USUAL:
            dropped |= _named(value)
    return [header for header in headers if header[0] not in dropped and header[0][:6] != OWN]


def _named(connection: bytes) -> frozenset[bytes]:
    """The headers that concern this connection alone, as its own header says."""
    # what frames the message stays, whoever names it: else one side sees another end than the other
    return frozenset(token.strip().lower() for token in connection.split(b",")) - FRAMING
