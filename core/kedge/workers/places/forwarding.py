"""Passing a request on to a node of another location, and knowing one that was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from kedge.errors import Unauthorized
from kedge.placement.peers import FORWARD, Forwarded
from kedge.workers.relay.headers import find, request_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from kedge.placement.peers import ClusterKey, Peer
    from kedge.workers.relay.headers import Header, Visitor
    from kedge.workers.relay.relay import Relay
    from kedge.workers.relay.upstream import Answer

log = structlog.get_logger("forwarding")


class Forwarding:
    """A request is passed on once: the node that gets it runs it, or says why it cannot."""

    def __init__(self, here: str, key: ClusterKey, relay: Relay) -> None:
        """`here` is this node's location."""
        self._here = here
        self._key = key
        self._relay = relay

    def heard(self, scope: Scope) -> Forwarded | None:
        """What another node says of a request; `None` for a visitor's own, whatever its headers claim."""
        value = find(scope["headers"], FORWARD)
        if value is None:
            return None
        host = find(scope["headers"], b"host") or b""
        try:
            return self._key.verify(value, scope["method"], host, _target(scope))
        except Unauthorized as error:
            log.warning("not_forwarded", reason=str(error))
            return None

    async def send(
        self,
        peer: Peer,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        visitor: Visitor,
        request_id: bytes,
        answered: Callable[[Answer], Sequence[Header]],
    ) -> None:
        """Have a peer answer a request. Raises as `Relay.pass_on` does."""
        said = Forwarded(
            entry=self._here,
            visitor=visitor.address,
            scheme=visitor.scheme,
            request_id=request_id.decode(),
        )
        host = find(scope["headers"], b"host") or b""
        signature = self._key.sign(said, scope["method"], host, _target(scope))
        headers = [*request_headers(scope["headers"], visitor, request_id), (FORWARD, signature)]
        await self._relay.pass_on(peer.address, headers, scope, receive, send, answered=answered)


def _target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path
