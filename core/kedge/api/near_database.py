"""Calls that write are answered by the node from which the database is reached fastest."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from kedge.api.access import READS
from kedge.workers.places.durations import Series
from kedge.workers.places.repeatable import Repeatable
from kedge.workers.visitors import Visitors, client_of, host_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from kedge.api.services import Services
    from kedge.placement.peers import Peer

#: bytes for the blob store, which the database sees nothing of
CONTENTS = re.compile(r".*/versions/uploads/[^/]+/files/[^/]+")
#: under which durations of writes are kept
WRITES = "writes"


class NearDatabase:
    """ASGI middleware of everything below an account."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` does what is asked, wherever it is."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do it here, or have it done once, there."""
        services: Services = scope["app"].state.services
        if not _may_go(services, scope):
            await self._app(scope, receive, send)
            return
        placing, began = services.places.placing, time.perf_counter()
        peer = placing.nearer_database(services.control_plane)
        if peer is not None:
            receive = Repeatable(receive)
            if not await _done_by(peer, services, scope, receive, send):
                peer = None
        if peer is None:
            await self._app(scope, receive, send)
        location = placing.here if peer is None else peer.location
        took = (time.perf_counter() - began) * 1000
        placing.durations.record(WRITES, Series(WRITES, location, peer is not None), took)


def _may_go(services: Services, scope: Scope) -> bool:
    """Whether a call writes and was not passed on already."""
    if scope["method"] in READS or services.places.forwarding is None or not services.db.shared:
        return False
    return not CONTENTS.fullmatch(scope["path"]) and services.places.heard(scope) is None


async def _done_by(peer: Peer, services: Services, scope: Scope, receive: Repeatable, send: Send) -> bool:
    """Have a peer answer. False if it was not asked; raises `NoAnswer` if nobody knows what it did."""
    assert services.places.forwarding is not None  # noqa: S101  (asked before)
    visitors = Visitors(services.settings.gateway.trusted_proxies)
    return await services.places.forwarding.send(
        peer,
        scope,
        receive,
        send,
        visitor=visitors.of(client_of(scope), host_of(scope), scope["headers"]),
        request_id=visitors.request_id(client_of(scope), scope["headers"]),
        answered=lambda _: ((b"cf-placement", b"remote-" + peer.location.encode()),),
        again=frozenset(),
    )
