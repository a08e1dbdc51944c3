"""The other nodes, where they are, and how nodes know each other's word."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from kedge.db.clock import now_ms
from kedge.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kedge.config.settings import PeerSettings

#: what one node says to another in a request; a visitor's header of that name means nothing
FORWARD = b"kedge-forward"
#: seconds within which it has to arrive, clocks that differ included
FRESH_SECONDS = 60.0
LONGEST = 4096


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another node."""

    name: str
    location: str
    region: str | None
    #: `HOST:PORT`
    address: str


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """What a node says of a request that it passes on."""

    #: the location it came in at
    entry: str
    visitor: str
    scheme: str
    request_id: str


class Peers(Mapping[str, Peer]):
    """The other nodes by name: those of the settings, and those that the database tells of besides."""

    def __init__(self, settings: Mapping[str, PeerSettings], *, but: str = "") -> None:
        """`but` is this node's own name, so that all nodes may have the same settings."""
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
    """`HOST:PORT` of a node's URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{parts.port or 80}"


class ClusterKey:
    """Signs what nodes say to each other. All nodes of a cluster have the same key."""

    def __init__(self, key: str) -> None:
        """Derive what is signed with: the key itself is used for nothing else."""
        self._key = hmac.digest(key.encode(), b"kedge peers 1", "sha256")

    def sign(self, forwarded: Forwarded, method: str, host: bytes, target: bytes) -> bytes:
        """The value of the header by which a request is passed on. It is good for that request alone."""
        told = [now_ms() / 1000, forwarded.entry, forwarded.visitor, forwarded.scheme, forwarded.request_id]
        payload = base64.urlsafe_b64encode(orjson.dumps(told))
        return payload + b"." + self._signature(payload, method, host, target)

    def verify(self, value: bytes, method: str, host: bytes, target: bytes) -> Forwarded:
        """What the header says. Raises `Unauthorized` unless a node of this cluster said it just now."""
        payload, _, signature = value.partition(b".")
        if len(value) > LONGEST or not hmac.compare_digest(
            signature, self._signature(payload, method, host, target)
        ):
            raise Unauthorized("the request was not passed on by a node of this cluster")
        try:
            told_on, entry, visitor, scheme, request_id = orjson.loads(base64.urlsafe_b64decode(payload))
        except (binascii.Error, ValueError) as error:
            raise Unauthorized("what the node says of the request cannot be understood") from error
        if abs(now_ms() / 1000 - told_on) > FRESH_SECONDS:
            raise Unauthorized("the request was passed on too long ago; are the nodes' clocks right?")
        return Forwarded(entry=entry, visitor=visitor, scheme=scheme, request_id=request_id)

    def _signature(self, payload: bytes, method: str, host: bytes, target: bytes) -> bytes:
        said = b"\n".join((payload, method.encode(), host, target))
        return hmac.new(self._key, said, sha256).hexdigest().encode()
