"""The routes that git clients talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge_git.server import GitServer

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from kedge import Host


def git_routes(host: Host) -> list[BaseRoute]:
    """`/git/{owner}/{repo}.git/{service}`; they serve once the forge is open."""
    return [Route("/git/{owner}/{repo}/{rest:path}", endpoint=GitServer(host))]
