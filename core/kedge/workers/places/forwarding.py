"""Passing a request on to a node of another location, and knowing one that was."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from kedge.errors import Unauthorized
from kedge.placement.cluster_key import FORWARD, MOMENT, Forwarded, WrongMoment
from kedge.workers.places.held import Held
from kedge.workers.places.presence import PeerGone
from kedge.workers.relay.headers import find, request_headers
from kedge.workers.relay.relay import IDEMPOTENT, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Scope, Send

    from kedge.placement.cluster_key import ClusterKey, Moments
    from kedge.placement.peers import Peer
    from kedge.workers.places.presence import Presence
    from kedge.workers.places.repeatable import Repeatable
    from kedge.workers.relay.headers import Header, Visitor
    from kedge.workers.relay.relay import Relay
    from kedge.workers.relay.tunnel import Handshake, Program, Way
    from kedge.workers.relay.upstream import Answer

log = structlog.get_logger("forwarding")


class Forwarding:
    """A request is passed on once: the node that gets it runs it, or says why it cannot."""

    def __init__(
        self,
        here: str,
        key: ClusterKey,
        relay: Relay,
        *,
        presence: Presence,
        moments: Moments,
        lost: Callable[[Peer], None],
    ) -> None:
        """`here` is this node's location; `lost` is told of a peer that did not answer."""
        self._here = here
        self._key = key
        self._relay = relay
        self._presence = presence
        self._moments = moments
        self._lost = lost

    def heard(self, scope: Scope) -> Forwarded | None:
        """What another node says of a request; `None` for a visitor's own, whatever its headers claim.

        Raises `WrongMoment` for what a node said, but not now, or that was heard already.
        """
        value = find(scope["headers"], FORWARD)
        if value is None:
            return None
        host = find(scope["headers"], b"host") or b""
        try:
            return self._key.verify(value, scope["method"], host, _target(scope))
        except WrongMoment:
            raise
        except Unauthorized as error:
            log.debug("not_forwarded", reason=str(error))
            return None

    async def send(
        self,
        peer: Peer,
        scope: Scope,
        receive: Repeatable,
        send: Send,
        *,
        visitor: Visitor,
        request_id: bytes,
        answered: Callable[[Answer], Sequence[Header]],
        again: frozenset[str] = IDEMPOTENT,
    ) -> bool:
        """Have a peer answer a request. False if it did not, so that another may be asked from the start.

        Raises `NoAnswer` if nobody knows what the peer did, unless the method is one of `again`; and
        `BodyTooLarge`. A long answer that breaks off does so for the visitor.
        """
        held, headers = Held(send), self.headers(peer, scope, visitor, request_id)

        def heard(answer: Answer) -> Sequence[Header]:
            if (moment := find(answer.headers, MOMENT)) is not None:
                self._moments.learn(peer.name, moment)
                raise NoAnswer("it takes the request for an old one", asked=False)
            return answered(answer)

        try:
            async with self._presence.waiting_for(peer):
                await self._relay.pass_on(peer.address, headers, scope, receive, held, answered=heard)
            failure = NoAnswer("its answer broke off", asked=True)
        except PeerGone as error:
            failure = NoAnswer(str(error), asked=True)
        except NoAnswer as error:
            failure = error
        if held.begun:
            return True
        if failure.left or (failure.late and failure.asked):
            raise failure
        self._lost(peer)
        if not receive.whole or (failure.asked and scope["method"] not in again):
            raise failure
        log.info("asked_elsewhere", peer=peer.name, request=request_id.decode(), reason=str(failure))
        receive.again()
        return False

    async def shake(self, peer: Peer, way: Way, stack: AsyncExitStack, shake: Handshake) -> Program | None:
        """Open a WebSocket at a peer, for as long as it is there; `None` if it does not answer.

        When it is gone later, `PeerGone` is raised out of `stack`.
        """
        try:
            async with AsyncExitStack() as own:
                await own.enter_async_context(self._presence.waiting_for(peer))
                program = await shake(way)
                stack.push_async_exit(own.pop_all())
                return program
        except (OSError, PeerGone) as error:
            log.info("asked_elsewhere", peer=peer.name, reason=str(error) or "no connection in time")
            self._lost(peer)
            return None

    def headers(self, peer: Peer, scope: Scope, visitor: Visitor, request_id: bytes) -> list[Header]:
        """What a peer is told of a request, signed for this moment."""
        said = Forwarded(
            entry=self._here,
            visitor=visitor.address,
            scheme=visitor.scheme,
            request_id=request_id.decode(),
        )
        host = find(scope["headers"], b"host") or b""
        moment = self._moments.at(peer.name)
        signature = self._key.sign(said, scope["method"], host, _target(scope), moment=moment)
        return [*request_headers(scope["headers"], visitor, request_id), (FORWARD, signature)]


async def refuse(error: WrongMoment, send: Send) -> None:
    """Tell a node for which moment it has to say what it says."""
    headers = [(b"content-length", b"0"), (MOMENT, error.moment)]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path
