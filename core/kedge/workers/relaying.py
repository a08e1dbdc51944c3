"""Requests for workers that run: an instance is lent for each, and relayed to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson

from kedge.errors import KedgeError
from kedge.placement.cluster_key import WrongMoment
from kedge.workers.egress.ledger import unpack
from kedge.workers.errand import CALLS, Errand, beside
from kedge.workers.means import PLACE
from kedge.workers.places.forwarding import refuse
from kedge.workers.places.repeatable import Repeatable
from kedge.workers.refusals import refusal
from kedge.workers.relay.headers import Visitor, find, request_headers
from kedge.workers.relay.relay import NoAnswer
from kedge.workers.relay.tunnel import Way
from kedge.workers.visitors import client_of, host_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from starlette.types import Message, Receive, Scope, Send

    from kedge.db.queries.deployments import Serving
    from kedge.placement.cluster_key import Forwarded
    from kedge.placement.peers import Peer
    from kedge.workers.errand import Calls
    from kedge.workers.means import Means
    from kedge.workers.places.placing import Place
    from kedge.workers.relay.headers import Header
    from kedge.workers.relay.tunnel import Handshake, Program
    from kedge.workers.relay.upstream import Answer
    from kedge.workers.sites import Site
    from kedge.workers.static import Reply
    from kedge.workers.visitors import Visitors


#: instances that nobody listens at any more, before a request is not served
MOST_GONE = 2
#: an instance that breaks a connection may be dying, which the node hears within so many seconds
DYING_SECONDS = 0.25


class Asked:
    """One request: who asks, and by which id it is known on its way."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, visitors: Visitors, heard: Forwarded | None
    ) -> None:
        """`heard` is what another node says of it, which then knows better."""
        self.scope = scope
        self.receive = receive
        self.send = send
        self.heard = heard
        client = client_of(scope)
        self.visitor = visitors.of(client, host_of(scope), scope["headers"])
        if heard is None:
            self.request_id = visitors.request_id(client, scope["headers"])
        else:
            self.visitor = Visitor(heard.visitor, heard.scheme, self.visitor.host, believed=True)
            self.request_id = heard.request_id.encode()

    def repeatable(self) -> Repeatable:
        """What the visitor sends, from now on kept as long as it is little."""
        if not isinstance(self.receive, Repeatable):
            self.receive = Repeatable(self.receive)
        return self.receive


class Relaying:
    """Leases instances and relays to them, here or by another node."""

    def __init__(self, means: Means) -> None:
        """Keep the parts."""
        self._instances = means.instances
        self._relay = means.relay
        self._places = means.places
        self._visitors = means.visitors
        self._longest_wait_until = means.longest_wait_until

    async def serve(self, site: Site, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request from an instance of a version, or say why that cannot be."""
        try:
            heard = self._places.heard(scope)
        except WrongMoment as error:
            await refuse(error, send)
            return
        asked = Asked(scope, receive, send, self._visitors, heard)
        place = None
        if asked.heard is None and site.wish:
            place = scope.get("state", {}).get(PLACE) or self._places.choose(site, scope["raw_path"])
        try:
            if place is None:
                await self._serve_here(site.serving, asked, None)
            else:
                await self._serve_there(site.serving, asked, place)
        except KedgeError as error:
            await _say(refusal(error, site.serving, asked.request_id), asked)

    async def open_tunnel(self, site: Site, scope: Scope, stack: AsyncExitStack, shake: Handshake) -> Program:
        """The other end of a WebSocket: where the policy says, and if nobody answers there, elsewhere.

        Kept up until `stack` ends. Raises `OSError` if nobody answers at all, and as `Instances.lease` does.
        """
        asked = Asked(scope, _nothing, _nowhere, self._visitors, self._places.heard(scope))
        place = None
        if asked.heard is None and site.wish:
            place = self._places.choose(site, scope["raw_path"])
        if place is not None and self._places.forwarding is not None:
            while place.peer is not None:
                told = self._places.forwarding.headers(place.peer, scope, asked.visitor, asked.request_id)
                way = Way(place.peer.address, told, _remote(place), self._places.tls)
                program = await self._places.forwarding.shake(place.peer, way, stack, shake)
                if program is not None:
                    return program
                place = self._places.placing.instead(place)
        lease = await stack.enter_async_context(self._instances.lease(site.serving.version_id))
        told = request_headers(scope["headers"], asked.visitor, asked.request_id)
        return await shake(Way(lease.address, told, beside(asked.request_id, place)))

    async def _serve_there(self, serving: Serving, asked: Asked, place: Place) -> None:
        """Where the policy says; elsewhere, if that node does not answer and asking twice does no harm."""
        began, calls = time.perf_counter(), None
        while place.peer is not None:
            answered, calls = await self._by_peer(place.peer, asked, place)
            if answered:
                break
            # what a node cost that is gone says nothing of the next
            began, place = time.perf_counter(), self._places.placing.instead(place)
        else:
            calls = await self._serve_here(serving, asked, place)
        duration = (time.perf_counter() - began) * 1000
        self._places.placing.served(serving.worker_id, place, duration, calls)

    async def _by_peer(self, peer: Peer, asked: Asked, place: Place) -> tuple[bool, Calls]:
        """Whether a peer answered, and what its answer waited for, if that is known."""
        calls: Calls = None

        def answered(answer: Answer) -> Sequence[Header]:
            nonlocal calls
            calls = _calls_in(find(answer.headers, CALLS))
            return _remote(place)

        assert self._places.forwarding is not None  # noqa: S101  (there is a peer)
        done = await self._places.forwarding.send(
            peer,
            asked.scope,
            asked.repeatable(),
            asked.send,
            visitor=asked.visitor,
            request_id=asked.request_id,
            answered=answered,
        )
        return done, calls

    async def _serve_here(self, serving: Serving, asked: Asked, place: Place | None) -> Calls:
        """Answer from an instance of this node; return what the answer waited for, if that is known.

        One that has gone, though the node does not know it yet, gives way to the next.
        """
        for _ in range(MOST_GONE):
            try:
                return await self._ask(serving, asked, place)
            except NoAnswer as error:
                if not error.gone:
                    raise
        return await self._ask(serving, asked, place)

    async def _ask(self, serving: Serving, asked: Asked, place: Place | None) -> Calls:
        ledger = self._places.ledger if place is not None or asked.heard is not None else None
        headers = request_headers(asked.scope["headers"], asked.visitor, asked.request_id)
        async with self._instances.lease(serving.version_id) as lease:
            errand = Errand(lease, ledger, asked.request_id, place, longest=self._longest_wait_until)
            if asked.heard is not None:
                errand.passed_on()
            try:
                await self._relay.pass_on(
                    lease.address, headers, asked.scope, asked.receive, asked.send, answered=errand.answered
                )
            except NoAnswer as error:
                if error.gone:
                    lease.lose()
                elif error.repeatable:
                    error.gone = await lease.ends_within(DYING_SECONDS)
                raise
            finally:
                errand.end()
        return errand.calls


def _remote(place: Place) -> Sequence[Header]:
    return ((b"cf-placement", place.told),)


def _calls_in(header: bytes | None) -> Calls:
    if header is None:
        return None
    try:
        return unpack(orjson.loads(header))
    except ValueError:
        return None


async def _nothing() -> Message:
    return {"type": "websocket.connect"}


async def _nowhere(_: Message) -> None:
    raise RuntimeError("what is said in a WebSocket goes another way")


async def _say(reply: Reply, asked: Asked) -> None:
    body = b"" if asked.scope["method"] == "HEAD" else reply.body
    await asked.send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await asked.send({"type": "http.response.body", "body": body})
