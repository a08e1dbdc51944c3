"""Where workers may connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: AWS's metadata service over IPv6 lies in a private network, which is else allowed
METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("168.63.129.16")})


class NotAllowed(KedgeError):
    """A worker may not connect there."""

    code = 12096
    status = 403


class Targets:
    """Resolves a target to an address that was checked, and that alone is connected to.

    Loopback, link-local addresses (the metadata services of clouds among them), multicast and the like are
    refused unless `allow` names them. `connect_to` says where a target is found from this location.
    """

    def __init__(
        self, allow: frozenset[str] = frozenset(), connect_to: Mapping[str, str] | None = None
    ) -> None:
        """Both name targets as `HOST:PORT`; `*` stands for any port."""
        self._allow = allow
        self._connect_to = dict(connect_to or {})

    async def resolve(self, host: str, port: int) -> str:
        """`ADDRESS:PORT` to connect to. Raises `NotAllowed`, or `OSError` for a name that nobody knows."""
        given = self._connect_to.get(f"{host}:{port}")
        if given is not None:
            return given
        allowed = not self._allow.isdisjoint({f"{host}:{port}", f"{host}:*"})
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        refused: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
        for *_, place in found:
            address = ipaddress.ip_address(str(place[0]).partition("%")[0])
            if allowed or _is_public_enough(address):
                shown = f"[{address}]" if address.version == 6 else str(address)
                return f"{shown}:{port}"
            refused = address
        raise NotAllowed(
            f"{host}:{port} is {refused}, which workers do not reach; "
            "if this one shall be reached, name it in egress.allow"
        )


def _is_public_enough(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or address in METADATA
    )
