"""Where workers may connect to."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from kedge.errors import KedgeError
from kedge.workers.egress.own_addresses import is_own
from kedge.workers.egress.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address, IPv6Address

#: metadata services that are not at link-local addresses: of AWS, Google, Azure, Alibaba and Oracle
METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "fd00:ec2::23",
        "fd00:ec2::254",
        "fd20:ce::254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
    )
)
#: "this network", and what is set aside for protocols
SPECIAL = (ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("192.0.0.0/24"))
#: an address of IPv4 is in the last bytes of these
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
#: around an address of IPv6
BRACKETS = str.maketrans("", "", "[]")


class NotAllowed(KedgeError):
    """A worker may not connect there."""

    code = 12096
    status = 403


class Targets:
    """Resolves a target to an address that was checked, and that alone is connected to.

    Addresses of this machine, link-local ones, metadata services of clouds, multicast and the like are
    refused unless `allow` names them, or the name by which they were asked for. `connect_to` says where a
    target is found from this location.
    """

    def __init__(
        self, allow: frozenset[str] = frozenset(), connect_to: Mapping[str, str] | None = None
    ) -> None:
        """Both name targets as `HOST:PORT`; `*` stands for any port."""
        self._allow = {target.translate(BRACKETS) for target in allow}
        self._connect_to = dict(connect_to or {})
        self._resolver = Resolver()

    def close(self) -> None:
        """Resolve no more names."""
        self._resolver.close()

    async def resolve(self, host: str, port: int, caller: str = "") -> str:
        """`ADDRESS:PORT` to connect to; `caller` is whose turn it takes to look a name up.

        Raises `NotAllowed`, or `OSError` for a name that nobody knows.
        """
        given = self._connect_to.get(f"{host}:{port}")
        if given is not None:
            return given
        allowed = self._allows(host, port)
        refused: IPv4Address | IPv6Address | None = None
        for address in await self._resolver.addresses(host, port, caller):
            if allowed or self._allows(str(address), port) or _is_public_enough(address):
                shown = f"[{address}]" if address.version == 6 else str(address)
                return f"{shown}:{port}"
            refused = address
        raise NotAllowed(
            f"{host}:{port} is {refused}, which workers do not reach; "
            "if this one shall be reached, name it in egress.allow"
        )

    def _allows(self, host: str, port: int) -> bool:
        return not self._allow.isdisjoint({f"{host}:{port}", f"{host}:*"})


def split(target: bytes, port: int) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; `port` if that names none."""
    text = target.decode("latin-1").lower()
    host, colon, given = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, given = text, ""
    number = int(given) if given.isdecimal() and len(given) < 6 else port
    return host.strip("[]").rstrip("."), min(number, 65535)


def _is_public_enough(address: IPv4Address | IPv6Address) -> bool:
    return not any(
        form.is_loopback
        or form.is_link_local
        or form.is_multicast
        or form.is_unspecified
        or form.is_reserved
        or form in METADATA
        or any(form in network for network in SPECIAL)
        or is_own(form)
        for form in _forms(address)
    )


def _forms(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """What is reached by it: the address of IPv4 that one of IPv6 stands for, or itself."""
    if address.version == 4:
        yield address
    elif address.ipv4_mapped is not None or address in TRANSLATED:
        yield ipaddress.IPv4Address(address.packed[-4:])
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
