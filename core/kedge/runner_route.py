"""What builds may call of a plugin."""

from __future__ import annotations

from starlette.routing import Route


class RunnerRoute(Route):
    """A route that builds reach by the socket of their node, too; every other is kept from them."""
