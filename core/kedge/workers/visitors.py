"""Who asks: the visitor himself, or one that a proxy before Kedge speaks for."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from kedge.http.answering import lines
from kedge.workers.relay.headers import Visitor, find, introduction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from starlette.types import Scope

    from kedge.workers.relay.headers import Header

#: how a socket for both protocols shows an IPv4 address
MAPPED = "::ffff:"
REQUEST_ID = re.compile(rb"[A-Za-z0-9._=+/-]{1,128}")


def host_of(scope: Scope) -> bytes:
    """The `Host` header of a request."""
    return find(scope["headers"], b"host") or b""


def client_of(scope: Scope) -> str:
    """The address that a request came from; empty for one that came by a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


#: bytes of an id, and of randomness that are fetched at once
ID_BYTES = 16
BATCH = 256 * ID_BYTES


class RequestIds:
    """Random, as those of `uuid4`; the system is asked for many at a time."""

    def __init__(self) -> None:
        """None was given yet."""
        self._ready: list[bytes] = []

    def next(self) -> bytes:
        """Another one: 32 hexadecimal digits."""
        return (self._ready or self._more()).pop()

    def _more(self) -> list[bytes]:
        digits, size = os.urandom(BATCH).hex().encode(), 2 * ID_BYTES
        self._ready = [digits[start : start + size] for start in range(0, len(digits), size)]
        return self._ready


IDS = RequestIds()


class Visitors:
    """Believes what is said of a visitor only where a trusted proxy says it."""

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        """`trusted` are the networks that such proxies are in."""
        self._trusted = trusted
        #: whether what the headers of a request say of its visitor may count
        self.may_believe = bool(trusted)

    def of(self, client: str, host: bytes, headers: Sequence[Header]) -> Visitor:
        """Who asks. Of `X-Forwarded-For` the last address that is not itself a trusted proxy's counts."""
        if client.startswith(MAPPED):
            client = str(_address(client))
        if not self._trusted:
            return Visitor(client, "http", host)
        scheme, believed = "http", self._trusts(client)
        if believed:
            client = self._nearest(headers, client)
            said = find(headers, b"x-forwarded-proto")
            scheme = said.decode("latin-1") if said in {b"http", b"https"} else scheme
        return Visitor(client, scheme, host, believed)

    def request_id(self, client: str, headers: Sequence[Header]) -> bytes:
        """The one that a trusted proxy gave, or a new one."""
        if self._trusted and self._trusts(client):
            said = find(headers, b"x-request-id")
            if said is not None and REQUEST_ID.fullmatch(said):
                return said
        return IDS.next()

    def _nearest(self, headers: Sequence[Header], address: str) -> str:
        values = [value for name, value in headers if name == b"x-forwarded-for"]
        for said in reversed(b",".join(values).decode("latin-1").split(",")):
            try:
                address = str(_address(said.strip()))
            except ValueError:
                break
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: str) -> bool:
        try:
            known = _address(address)
        except ValueError:
            return False
        return any(known in network for network in self._trusted)


def _address(said: str) -> IPv4Address | IPv6Address:
    """An address, also one beside which a proxy names the port. Raises `ValueError`."""
    if said.startswith("["):
        said = said[1:].partition("]")[0]
    elif said.count(":") == 1:
        said = said.partition(":")[0]
    found = ip_address(said)
    return getattr(found, "ipv4_mapped", None) or found


NOBODY_TRUSTED = Visitors()


@lru_cache(maxsize=1024)
def stranger(client: str, host: bytes) -> bytes:
    """The lines by which a visitor is introduced to an instance whose headers do not count."""
    return lines(introduction(NOBODY_TRUSTED.of(client, host, ())))
