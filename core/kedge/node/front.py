"""One port for all: hosts under the gateway's domain go to workers, every other host to the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from kedge.workers.gateway import Gateway


class Front:
    """The outermost ASGI application of a node."""

    def __init__(self, gateway: Gateway, app: ASGIApp) -> None:
        """`app` is the API with everything beside it."""
        self.gateway = gateway
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a request to where its host belongs."""
        if scope["type"] == "http" and self.gateway.serves(_host(scope)):
            await self.gateway(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value, "latin-1")
    return ""
