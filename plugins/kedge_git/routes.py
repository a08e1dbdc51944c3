"""The routes that git clients talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from kedge import RunnerRoute
from kedge_git.server import GitServer

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from kedge import Host

REPO = "/git/{owner}/{repo}"
#: all that a clone asks for
FETCHES = ("info/refs", "git-upload-pack")


def git_routes(host: Host) -> list[BaseRoute]:
    """`/git/{owner}/{repo}.git/{service}`; they serve once the forge is open."""
    server = GitServer(host)
    return [
        *(RunnerRoute(f"{REPO}/{fetch}", endpoint=server) for fetch in FETCHES),
        Route(f"{REPO}/{{rest:path}}", endpoint=server),
    ]
