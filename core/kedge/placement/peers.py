"""The other nodes, and where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from kedge.config.settings import PeerSettings


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another node."""

    name: str
    location: str
    region: str | None
    #: `HOST:PORT`, or `tls:HOST:PORT`
    address: str


class Peers(Mapping[str, Peer]):
    """The other nodes by name: those of the settings, and those that the database tells of besides."""

    def __init__(
        self, settings: Mapping[str, PeerSettings], *, but: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        """`but` is this node's own name, so that all nodes may have the same settings.

        `tls` tells whom to believe that it is a node at an `https://` address.
        """
        self.tls = tls
        self._told = {
            name: Peer(name=name, location=peer.location, region=peer.region, address=address_of(peer.url))
            for name, peer in settings.items()
            if name != but
        }
        self._all = dict(self._told)
        self._changed = asyncio.Event()

    def found(self, peers: Iterable[Peer]) -> None:
        """These are there now. What the settings say of a peer holds all the same."""
        now = {peer.name: peer for peer in peers} | self._told
        if now != self._all:
            self._all = now
            self._changed.set()

    async def change(self) -> None:
        """Return once they are others than at the last call."""
        await self._changed.wait()
        self._changed.clear()

    def __getitem__(self, name: str) -> Peer:
        """The peer of that name."""
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._all)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)


def address_of(url: str) -> str:
    """Where a node is whose URL this is: `HOST:PORT`, or `tls:HOST:PORT`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if parts.scheme == "https":
        return f"tls:{shown}:{parts.port or 443}"
    return f"{shown}:{parts.port or 80}"
