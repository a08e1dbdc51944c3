"""How many connections there are, in all and of each address."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network


class Crowd:
    """Lets nobody take all the room there is. By a Unix socket, without an address, everybody gets in."""

    def __init__(
        self, most: int, most_of_one: int, proxies: Sequence[IPv4Network | IPv6Network] = ()
    ) -> None:
        """So many in all and of one address, unless it is in a network of `proxies`."""
        self._most = most
        self._most_of_one = most_of_one
        self._proxies = proxies
        self._here: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> str:
        """One more. Return why there is no room for it, empty if there is; it has to `leave` either way."""
        self._all += 1
        self._here[address] += 1
        if not address:
            return ""
        if self._all > self._most:
            return "there are too many connections; come again later"
        if self._here[address] > self._most_of_one and not self._is_proxy(address):
            return "there are too many connections from your address"
        return ""

    def leave(self, address: str) -> None:
        """One less."""
        self._all -= 1
        self._here[address] -= 1
        if not self._here[address]:
            del self._here[address]

    def _is_proxy(self, address: str) -> bool:
        try:
            known = ip_address(address)
        except ValueError:
            return False
        known = getattr(known, "ipv4_mapped", None) or known
        return any(known in network for network in self._proxies)
