"""The API: every route, and what stands before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, Router

from kedge.api import (
    api_tokens,
    build_tokens,
    builds,
    caches,
    cleanup,
    deploy_hooks,
    deployments,
    health,
    instances,
    logs,
    peers,
    placement,
    placement_settings,
    repos,
    runner,
    runner_caches,
    secrets,
    triggers,
    variables,
    versions,
    workers,
)
from kedge.api.access import AccountAccess
from kedge.api.errors import HANDLERS
from kedge.api.near_database import NearDatabase
from kedge.observe.requests import RequestLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

    from kedge.api.services import Services

ACCOUNT = "/client/v4/accounts/{account}"

ACCOUNT_ROUTES: list[Route] = [
    *logs.routes,
    *versions.routes,
    *placement.routes,
    *placement_settings.routes,
    *deployments.routes,
    *instances.routes,
    *secrets.routes,
    *builds.routes,
    *triggers.routes,
    *caches.routes,
    *cleanup.routes,
    *variables.routes,
    *deploy_hooks.routes,
    *repos.routes,
    *build_tokens.routes,
    *api_tokens.routes,
    *workers.routes,
]


def create_app(services: Services, extra_routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The application. `extra_routes` come from plugins and check their callers themselves."""
    app = Starlette(
        routes=[
            *runner.routes,
            *runner_caches.routes,
            *peers.routes,
            *deploy_hooks.nameless_routes,
            Mount(
                ACCOUNT,
                app=Router(ACCOUNT_ROUTES, redirect_slashes=False),
                middleware=[Middleware(NearDatabase), Middleware(AccountAccess)],
            ),
            *health.routes,
            *extra_routes,
        ],
        middleware=[Middleware(RequestLog)],
        exception_handlers=HANDLERS,
    )
    # A redirect would tell nameless callers which addresses there are, and names the Host they sent.
    app.router.redirect_slashes = False
    app.state.services = services
    return app
