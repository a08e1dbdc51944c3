"""Which addresses are this machine's own, as the kernel has it at the moment."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

HEAD = struct.Struct("=IHHII")
ROUTE = struct.Struct("=BBBBBBBBI")
ATTRIBUTE = struct.Struct("=HH")
REQUEST, GET_ROUTE, NEW_ROUTE = 0x01, 26, 24
DESTINATION = 1
UNICAST = 1
LARGEST_ANSWER = 4096


def is_own(address: IPv4Address | IPv6Address) -> bool:
    """Whether what is sent to `address` stays on this machine, or goes to all of a network.

    Addresses of interfaces that are down count as well. Does not block. Raises `OSError`.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(_question(address))
        answer = kernel.recv(LARGEST_ANSWER)
    _, kind, *_ = HEAD.unpack_from(answer)
    if kind != NEW_ROUTE:
        return False  # there is no way to it
    return bool(ROUTE.unpack_from(answer, HEAD.size)[7] != UNICAST)


def _question(address: IPv4Address | IPv6Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    route = ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    attribute = ATTRIBUTE.pack(ATTRIBUTE.size + len(address.packed), DESTINATION) + address.packed
    head = HEAD.pack(HEAD.size + len(route) + len(attribute), GET_ROUTE, REQUEST, 1, 0)
    return head + route + attribute
