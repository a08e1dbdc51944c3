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
    runner_cache_parts,
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
from kedge.runner_route import RunnerRoute

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
    routes = [
        *runner.routes,
        *runner_caches.routes,
        *runner_cache_parts.routes,
        *peers.routes,
        *deploy_hooks.nameless_routes,
        _below_account(ACCOUNT_ROUTES),
        *health.routes,
        *extra_routes,
    ]
    return _app(services, routes)


def create_runner_app(services: Services, extra_routes: Sequence[BaseRoute] = ()) -> Starlette:
    """All that builds reach by the socket of their node: what a runner says, its caches, clone and deploy.

    Of `extra_routes` it has those that are made for builds.
    """
    routes = [
        *runner.routes,
        *runner_caches.routes,
        *runner_cache_parts.routes,
        _below_account(versions.upload_routes),
        *(route for route in extra_routes if isinstance(route, RunnerRoute)),
    ]
    return _app(services, routes)


def _below_account(routes: Sequence[Route]) -> Mount:
    return Mount(
        ACCOUNT,
        app=Router(routes, redirect_slashes=False),
        middleware=[Middleware(NearDatabase), Middleware(AccountAccess)],
    )


def _app(services: Services, routes: Sequence[BaseRoute]) -> Starlette:
    app = Starlette(routes=routes, middleware=[Middleware(RequestLog)], exception_handlers=HANDLERS)
    # A redirect would tell nameless callers which addresses there are, and names the Host they sent.
    app.router.redirect_slashes = False
    app.state.services = services
    return app
