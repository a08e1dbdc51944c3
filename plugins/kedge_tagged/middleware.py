"""ASGI middleware: a context for every request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kedge_tagged.context import child

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TagsMiddleware:
    """Tags every line of a request: `handler`, `environment`, `location`, `request`, and what you add."""

    def __init__(self, app: App, source: str, *, location: str | None = None, **tags: Any) -> None:
        """`environment` comes from the variable ENVIRONMENT, if it is set."""
        self._app = app
        self._source = source
        given = {"environment": os.environ.get("ENVIRONMENT"), "location": location, **tags}
        self._tags = {name: value for name, value in given.items() if value is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request in a context of its own."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        tags = {"handler": scope["type"], **self._tags}
        headers = dict(scope.get("headers", ()))
        if b"x-request-id" in headers:
            tags["request"] = headers[b"x-request-id"].decode("latin-1")
        with child(source=self._source, tags=tags):
            await self._app(scope, receive, send)
