"""Requests for workers that run: an instance is lent for each, and relayed to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from kedge.errors import InstanceFailed, KedgeError, NotFound, ServingError
from kedge.workers.relay.headers import WAIT_UNTIL, Visitor, find, request_headers
from kedge.workers.relay.relay import BodyTooLarge, NoAnswer
from kedge.workers.static import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from starlette.types import Receive, Scope, Send

    from kedge.db.queries.deployments import Serving
    from kedge.workers.instances import Instances, Lease
    from kedge.workers.relay.headers import Header
    from kedge.workers.relay.relay import Relay
    from kedge.workers.relay.upstream import Answer
    from kedge.workers.static import Reply

log = structlog.get_logger("gateway")

SECONDS = re.compile(rb"\d{1,6}(?:\.\d{1,3})?")


class Relaying:
    """Leases instances and relays to them."""

    def __init__(self, instances: Instances, relay: Relay, *, longest_wait_until: float) -> None:
        """Keep the parts. An instance may go on after its answer for `longest_wait_until` seconds."""
        self._instances = instances
        self._relay = relay
        self._longest_wait_until = longest_wait_until

    async def serve(self, serving: Serving, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request from an instance of a version, or say why that cannot be."""
        request_id = uuid4().hex.encode()
        try:
            async with self._instances.lease(serving.version_id) as lease:
                await self._pass_on(lease, request_id, scope, receive, send)
        except KedgeError as error:
            log.warning(
                "request not served",
                worker=serving.worker,
                version=serving.version_id,
                request=request_id.decode(),
                reason=str(error),
            )
            await _say(_reply_to(error), request_id, scope, send)

    async def lease(self, serving: Serving, stack: AsyncExitStack) -> str:
        """Where an instance of a version listens, lent until `stack` ends."""
        lease = await stack.enter_async_context(self._instances.lease(serving.version_id))
        return lease.address

    async def _pass_on(
        self, lease: Lease, request_id: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        def answered(answer: Answer) -> Sequence[Header]:
            wanted = find(answer.headers, WAIT_UNTIL)
            if wanted is not None and SECONDS.fullmatch(wanted):
                lease.keep(min(float(wanted), self._longest_wait_until))
            return ((b"x-request-id", request_id),)

        headers = request_headers(scope["headers"], visitor_of(scope), request_id)
        await self._relay.pass_on(lease.address, headers, scope, receive, send, answered=answered)


def visitor_of(scope: Scope) -> Visitor:
    """Who asks."""
    client = scope.get("client")
    host = find(scope["headers"], b"host") or b""
    return Visitor(client[0] if client else "", scope["scheme"], host)


def _reply_to(error: KedgeError) -> Reply:
    """What a visitor may know: not what the program printed."""
    if isinstance(error, InstanceFailed):
        return plain(
            502,
            "This worker does not start.\n\nIf it is yours, see why: kedge worker logs NAME\n",
            (b"retry-after", b"%d" % max(round(error.retry_after), 1)),
        )
    if isinstance(error, ServingError):
        return plain(503, "This worker has more to do than it can. Try again soon.\n", (b"retry-after", b"1"))
    if isinstance(error, BodyTooLarge):
        return plain(413, f"{error}.\n")
    if isinstance(error, NoAnswer):
        return plain(504 if error.late else 502, f"This worker did not answer: {error}.\n")
    if isinstance(error, NotFound):
        return plain(404, "This worker is not there any more.\n")
    return plain(503, "This worker cannot be served just now. Try again soon.\n", (b"retry-after", b"1"))


async def _say(reply: Reply, request_id: bytes, scope: Scope, send: Send) -> None:
    headers = [*reply.headers, (b"x-request-id", request_id)]
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
