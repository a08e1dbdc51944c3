"""Which headers go through, and which are added."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from kedge.http.answering import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kedge.http.shape import Names

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
#: what Kedge says of a visitor, whoever has said it before
SAID_ANEW = frozenset(
    {
        b"cf-connecting-ip",
        b"cf-visitor",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    }
)
#: what programs believe of a visitor, or of what he asks, since a proxy is to have said it
SAID_BY_PROXIES = frozenset(
    {b"true-client-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-original-url", b"x-rewrite-url"}
)
#: programs that get headers as variables take it for the proxy that they shall ask
PROXY = frozenset({b"proxy"})
#: the server says it of every answer, once
DATE = frozenset({b"date"})
NOT_FOR_INSTANCES = HOP_BY_HOP | SAID_ANEW | PROXY
#: only Kedge says where an answer comes from, and only of workers that are placed
NOT_FOR_VISITORS = HOP_BY_HOP | DATE | {b"cf-placement"}
#: names whose fates are remembered
MOST_NAMES = 1024
LONGEST_NAME = 64
#: values of `Connection` that name no header
USUAL = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})
FRAMING = frozenset({b"content-length", b"host"})
#: how the names of headers begin that only Kedge may say
OWN = b"kedge-"
#: and of those that only a trusted proxy may say
PROXIES_OWN = (b"cf-", b"x-forwarded-")
WAIT_UNTIL = b"kedge-wait-until"
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class _Fates(dict[bytes, bool]):
    """Whether headers of a name go through, worked out once for each name: most come again and again."""

    def __init__(self, dropped: frozenset[bytes], beginnings: tuple[bytes, ...] = ()) -> None:
        super().__init__()
        self._dropped = dropped
        self._beginnings = (OWN, *beginnings)

    def __missing__(self, name: bytes) -> bool:
        # programs that get headers as variables (CGI, WSGI) cannot tell these two letters apart
        read = name.replace(b"_", b"-")
        through = read not in self._dropped and not read.startswith(self._beginnings)
        if len(self) < MOST_NAMES and len(name) <= LONGEST_NAME:
            self[name] = through
        return through


FOR_INSTANCES = _Fates(NOT_FOR_INSTANCES | SAID_BY_PROXIES, PROXIES_OWN)
FOR_INSTANCES_BY_PROXY = _Fates(NOT_FOR_INSTANCES)
FOR_VISITORS = _Fates(NOT_FOR_VISITORS)


class Visitor(NamedTuple):
    """Who asked, and how he reached us."""

    address: str
    scheme: str
    host: bytes
    #: whether a trusted proxy speaks for him, or another node
    believed: bool = False


def request_headers(headers: Sequence[Header], visitor: Visitor, request_id: bytes) -> list[Header]:
    """What an instance is told: the visitor's headers, less what is not for it, and who he is."""
    kept = _through(FOR_INSTANCES_BY_PROXY if visitor.believed else FOR_INSTANCES, headers)
    kept += introduction(visitor)
    kept.append((b"x-request-id", request_id))
    return kept


def introduction(visitor: Visitor) -> tuple[Header, ...]:
    """Who asks, as Kedge says it."""
    address = visitor.address.encode()
    return (
        (b"x-forwarded-for", address),
        (b"x-forwarded-proto", visitor.scheme.encode()),
        (b"x-forwarded-host", visitor.host),
        (b"x-real-ip", address),
        (b"cf-connecting-ip", address),
        (b"cf-visitor", b'{"scheme":"%b"}' % visitor.scheme.encode()),
    )


def response_headers(headers: Sequence[Header]) -> list[Header]:
    """What the visitor is told of an answer."""
    return _through(FOR_VISITORS, headers)


def find(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The first header of a name."""
    for key, value in headers:
        if key == name:
            return value
    return None


class Passing:
    """What of all heads with certain names goes through. Made by `to_instances` or `to_visitors`."""

    __slots__ = ("_connections", "_fates", "_kept", "_names", "_template")

    def __init__(self, fates: _Fates, names: Names) -> None:
        """Of no head in particular yet."""
        self._fates = fates
        self._names = names
        #: what may name more headers that do not
        self._connections = [place for place, name in enumerate(names) if name == b"connection"]
        kept = [place for place, name in enumerate(names) if fates[name]]
        self._kept = _picking(kept)
        self._template = b"".join(names[place].replace(b"%", b"%%") + b": %b\r\n" for place in kept)

    def lines(self, values: list[bytes]) -> bytes:
        """What goes through of the head with these values, as it stands in a head."""
        for place in self._connections:
            if values[place] not in USUAL:
                return lines(_through(self._fates, list(zip(self._names, values, strict=True))))
        return self._template % self._kept(values)


def _picking(places: list[int]) -> Callable[[list[bytes]], bytes | tuple[bytes, ...]]:
    """What picks the values at some places, as `%` takes them."""
    return itemgetter(*places) if places else lambda _: ()


def to_instances(names: Names) -> Passing:
    """What an instance is told of a request, less what is added: a question to the shape of its head."""
    return Passing(FOR_INSTANCES, names)


def by_proxy_to_instances(names: Names) -> Passing:
    """The same of one that a trusted proxy has passed on."""
    return Passing(FOR_INSTANCES_BY_PROXY, names)


def to_visitors(names: Names) -> Passing:
    """What a visitor is told of an answer: a question to the shape of its head."""
    return Passing(FOR_VISITORS, names)


def _through(fates: _Fates, headers: Sequence[Header]) -> list[Header]:
    kept = [header for header in headers if fates[header[0]]]
    if len(kept) != len(headers):
        for name, value in headers:
            if name == b"connection" and value.lower() not in USUAL:
                named = _named(value)
                kept = [header for header in kept if header[0] not in named]
    return kept


def _named(connection: bytes) -> frozenset[bytes]:
    """The headers that concern this connection alone, as its own header says."""
    # what frames the message stays, whoever names it: else one side sees another end than the other
    return frozenset(token.strip().lower() for token in connection.split(b",")) - FRAMING
