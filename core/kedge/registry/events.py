"""Telling plugins what happens. Nothing that they do in return can stop a build."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog

from kedge.registry.hooks import REGISTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.contracts.attempt_name import AttemptName
    from kedge.contracts.events import BuildEvent, Deployed, PushReceived, RequestServed
    from kedge.contracts.host import Host
    from kedge.contracts.log_store import LogChunk
    from kedge.registry.hooks import Hooks, Implementation

log = structlog.get_logger("registry")

#: an event hook that takes longer is given up, so that no plugin can hold up builds for good
PATIENCE = 30.0


class Events:
    """One method per event hook. Each waits for every plugin in turn and raises nothing."""

    def __init__(self, hooks: Hooks) -> None:
        """Remember who listens: plugins do not come or go later."""
        self._listeners = {
            name: hooks.implementations(name) for name in hooks.names if not name.startswith(REGISTERS)
        }
        self._failures: Counter[tuple[str, str]] = Counter()

    @property
    def failures(self) -> Mapping[tuple[str, str], int]:
        """How often an event hook failed, by plugin and hook."""
        return self._failures

    def listens(self, hook: str) -> bool:
        """Whether any plugin implements the event hook: if none does, its arguments need not be made."""
        return bool(self._listeners[hook])

    async def startup(self, host: Host) -> None:
        """The node is wired and about to listen."""
        await self._tell("kedge_startup", host=host)

    async def push_received(self, event: PushReceived) -> None:
        """A push was stored and its builds are queued."""
        await self._tell("kedge_push_received", event=event)

    async def build_queued(self, build: BuildEvent) -> None:
        """A build waits for its turn."""
        await self._tell("kedge_build_queued", build=build)

    async def before_build(self, build: BuildEvent) -> None:
        """A build's turn has come."""
        await self._tell("kedge_before_build", build=build)

    async def build_started(self, build: BuildEvent) -> None:
        """The runner of an attempt has reported in."""
        await self._tell("kedge_build_started", build=build)

    async def build_log(self, attempt: AttemptName, chunk: LogChunk) -> None:
        """A chunk of log was stored."""
        await self._tell("kedge_build_log", attempt=attempt, chunk=chunk)

    async def build_stopped(self, build: BuildEvent) -> None:
        """A build has ended."""
        await self._tell("kedge_build_stopped", build=build)

    async def build_error(self, build: BuildEvent, error: Exception) -> None:
        """Kedge itself failed while working on a build."""
        await self._tell("kedge_build_error", build=build, error=error)

    async def worker_deployed(self, deployed: Deployed) -> None:
        """A version serves from now on."""
        await self._tell("kedge_worker_deployed", deployed=deployed)

    async def request_served(self, request: RequestServed) -> None:
        """The gateway answered a request."""
        await self._tell("kedge_request_served", request=request)

    async def shutdown(self, host: Host) -> None:
        """The node is about to stop."""
        await self._tell("kedge_shutdown", host=host)

    async def _tell(self, hook: str, **arguments: Any) -> None:
        for listener in self._listeners[hook]:
            try:
                await _call(listener, arguments)
            except asyncio.CancelledError as error:
                # The plugin's own cancellation is its failure; ours goes on.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._failed(listener, error)
            except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a plugin raises stops nothing)
                self._failed(listener, error)

    def _failed(self, listener: Implementation, error: BaseException) -> None:
        plugin = listener.plugin
        self._failures[plugin.name, listener.hook] += 1
        log.error(
            "event hook failed",
            plugin=plugin.name,
            hook=listener.hook,
            distribution=plugin.distribution,
            failures=self._failures[plugin.name, listener.hook],
            exc_info=error,
        )


async def _call(listener: Implementation, arguments: dict[str, Any]) -> None:
    answer = listener.call(arguments)
    if inspect.isawaitable(answer):
        async with asyncio.timeout(PATIENCE):
            await answer
