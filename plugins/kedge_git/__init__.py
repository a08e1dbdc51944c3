"""Repositories that Kedge itself hosts, over git's smart HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge import hookimpl

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from kedge import Forge, Host


@hookimpl
def kedge_register_forge() -> list[type[Forge]]:
    """Offer the forge named `git`."""
    from kedge_git.forge import GitForge  # noqa: PLC0415  (only a node that uses it pays for it)

    return [GitForge]


@hookimpl
def kedge_register_routes(host: Host) -> list[BaseRoute]:
    """Serve `/git/{owner}/{repo}.git/…` to git clients."""
    from kedge_git.routes import git_routes  # noqa: PLC0415  (same)

    return git_routes(host)
