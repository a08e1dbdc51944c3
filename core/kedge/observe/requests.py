"""Gives every request an id and writes a line about it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from kedge.observe.redaction import redact_path
from kedge.observe.tags import bound

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("request")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class RequestLog:
    """Pure ASGI middleware. A request id that comes in is kept if it looks like one."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the id as a tag, answer it as a header."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        status = 0
        began = time.perf_counter()

        async def tagged_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        with bound(request=request_id.decode()):
            await self._app(scope, receive, tagged_send)
            took = round((time.perf_counter() - began) * 1000, 1)
            log.debug(
                "served", method=scope["method"], path=redact_path(scope["path"]), status=status, ms=took
            )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return uuid4().hex.encode()
