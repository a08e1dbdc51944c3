"""Who asks: the visitor himself, or one that a proxy before Kedge speaks for."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge.workers.relay.headers import Visitor, find

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

    from starlette.types import Scope

REQUEST_ID = re.compile(rb"[A-Za-z0-9._=+/-]{1,128}")


class Visitors:
    """Believes what is said of a visitor only where a trusted proxy says it."""

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        """`trusted` are the networks that such proxies are in."""
        self._trusted = trusted

    def of(self, scope: Scope) -> Visitor:
        """Who asks. Of `X-Forwarded-For` the last address that is not itself a trusted proxy's counts."""
        client = scope.get("client")
        address = client[0] if client else ""
        scheme = scope["scheme"]
        if self._trusted and self._trusts(address):
            address = self._nearest(scope, address)
            said = find(scope["headers"], b"x-forwarded-proto")
            scheme = said.decode("latin-1") if said in {b"http", b"https"} else scheme
        return Visitor(address, scheme, find(scope["headers"], b"host") or b"")

    def request_id(self, scope: Scope) -> bytes:
        """The one that a trusted proxy gave, or a new one."""
        client = scope.get("client")
        if self._trusted and client and self._trusts(client[0]):
            said = find(scope["headers"], b"x-request-id")
            if said is not None and REQUEST_ID.fullmatch(said):
                return said
        return uuid4().hex.encode()

    def _nearest(self, scope: Scope, address: str) -> str:
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        for said in reversed(b",".join(values).decode("latin-1").split(",")):
            try:
                address = str(ip_address(said.strip()))
            except ValueError:
                break
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: str) -> bool:
        try:
            known = ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._trusted)
