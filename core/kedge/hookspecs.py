"""Every hook: first those that register something, then the events in the order they fire.

*Register* hooks return classes that a config file chooses by name. *Event* hooks tell what happens
and may be plain or `async` functions; one that raises is logged and counted and stops nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import typer
    from starlette.routing import BaseRoute

    from kedge.contracts.attempt_name import AttemptName
    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.compute import Compute
    from kedge.contracts.events import BuildEvent, Deployed, PushReceived, RequestServed
    from kedge.contracts.forge import Forge
    from kedge.contracts.host import Host
    from kedge.contracts.log_store import LogChunk, LogStore
    from kedge.contracts.placement import Placement
    from kedge.contracts.request_placement import RequestPlacement
    from kedge.contracts.runtime import Runtime

PROJECT = "kedge"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kedge_register_compute() -> Sequence[type[Compute]]:  # type: ignore[empty-body]
    """Return classes that run builds; `[compute] use` names one."""


@hookspec
def kedge_register_runtime() -> Sequence[type[Runtime]]:  # type: ignore[empty-body]
    """Return classes that run deployed workers; `[runtime] use` names one."""


@hookspec
def kedge_register_blobs() -> Sequence[type[BlobStore]]:  # type: ignore[empty-body]
    """Return classes that keep files; `[blobs] use` names one."""


@hookspec
def kedge_register_log_store() -> Sequence[type[LogStore]]:  # type: ignore[empty-body]
    """Return classes that keep build logs; `[logs] use` names one."""


@hookspec
def kedge_register_forge() -> Sequence[type[Forge]]:  # type: ignore[empty-body]
    """Return classes that know where repositories live; `[forges] use` lists some."""


@hookspec
def kedge_register_placement() -> Sequence[type[Placement]]:  # type: ignore[empty-body]
    """Return strategies that decide where a build runs; `[placement] chain` lists some."""


@hookspec
def kedge_register_request_placement() -> Sequence[type[RequestPlacement]]:  # type: ignore[empty-body]
    """Return policies that decide where a worker's requests run; `[requests] use` names one."""


@hookspec
def kedge_register_routes(host: Host) -> Sequence[BaseRoute]:  # type: ignore[empty-body]
    """Return routes that are served beside the API. Each must check its caller by `host.authenticate`.

    Those of the class `RunnerRoute` are for builds, too: forges that host repositories serve clones by them.
    """


@hookspec
def kedge_register_commands() -> Sequence[tuple[str, typer.Typer | Callable[..., Any]]]:  # type: ignore[empty-body]
    """Return commands for the `kedge` command line, each with its name."""


@hookspec
def kedge_register_log_processors() -> Sequence[Callable[..., Any]]:  # type: ignore[empty-body]
    """Return structlog processors; they see every line that Kedge writes, before it is rendered."""


@hookspec
def kedge_startup(host: Host) -> Awaitable[None] | None:
    """The node is wired and about to listen."""


@hookspec
def kedge_push_received(event: PushReceived) -> Awaitable[None] | None:
    """A push was stored and its builds are queued."""


@hookspec
def kedge_build_queued(build: BuildEvent) -> Awaitable[None] | None:
    """A build waits for its turn."""


@hookspec
def kedge_before_build(build: BuildEvent) -> Awaitable[None] | None:
    """A build's turn has come; its attempt is about to start."""


@hookspec
def kedge_build_started(build: BuildEvent) -> Awaitable[None] | None:
    """The runner of an attempt has reported in."""


@hookspec
def kedge_build_log(attempt: AttemptName, chunk: LogChunk) -> Awaitable[None] | None:
    """A chunk of log was stored. Called often: do little, and only what need not happen twice."""


@hookspec
def kedge_build_stopped(build: BuildEvent) -> Awaitable[None] | None:
    """A build has ended, whatever its outcome."""


@hookspec
def kedge_build_error(build: BuildEvent, error: Exception) -> Awaitable[None] | None:
    """Kedge itself failed while starting an attempt of a build."""


@hookspec
def kedge_worker_deployed(deployed: Deployed) -> Awaitable[None] | None:
    """A version serves from now on."""


@hookspec
def kedge_request_served(request: RequestServed) -> Awaitable[None] | None:
    """The gateway answered a request. Called often: do little."""


@hookspec
def kedge_shutdown(host: Host) -> Awaitable[None] | None:
    """The node is about to stop."""
