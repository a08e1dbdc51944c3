"""The parts of a node, made once and handed to each other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from kedge.api.access import Access
from kedge.api.app import create_app
from kedge.api.services import Services
from kedge.builds.adoption import Adoption
from kedge.builds.background import Background
from kedge.builds.buddy import BuildBuddy
from kedge.builds.caches import Caches
from kedge.builds.control import Control
from kedge.builds.deploy_hooks import DeployHooks
from kedge.builds.intake import Intake
from kedge.builds.liveness import Liveness
from kedge.builds.logs import BuildLogs
from kedge.builds.reports import Reports
from kedge.builds.runner_tokens import RunnerTokens
from kedge.builds.runners import Runners
from kedge.builds.scheduler import Scheduler
from kedge.builds.services import BuildServices
from kedge.builds.wakeup import Wakeup
from kedge.node.data_dir import runner_socket
from kedge.node.front import Front
from kedge.node.host import NodeHost
from kedge.node.places import make_places
from kedge.objects import Objects
from kedge.placement.chain import Chain
from kedge.placement.strategies import STRATEGIES
from kedge.secrets import SecretBox
from kedge.workers.deployments import Deployments
from kedge.workers.gateway import Gateway
from kedge.workers.instances import Instances
from kedge.workers.loading import Runnables
from kedge.workers.relay.relay import Bounds, Relay
from kedge.workers.relaying import Relaying
from kedge.workers.rollouts import Rollouts
from kedge.workers.running import Running
from kedge.workers.starter import InstanceStarter
from kedge.workers.urls import WorkerUrls
from kedge.workers.version_files import VersionFiles
from kedge.workers.versions import Versions
from kedge.workers.worker_logs import WorkerLogs

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AsyncExitStack
    from typing import Any

    from kedge.config import Settings
    from kedge.contracts.compute import ComputeStatus
    from kedge.db.engine import Database
    from kedge.registry import Registry

#: uploads that nobody completed are cleared out this often
SWEEP_SECONDS = 3600.0
#: background work gets this long to finish when the node stops
PATIENCE = 5.0


class Parts:
    """Everything a node is made of."""

    def __init__(self, settings: Settings, registry: Registry, db: Database, public_url: str) -> None:
        """Make the parts; nothing is opened or started yet."""
        self.registry = registry
        self.host = NodeHost(settings, db)
        self.host.public_url = public_url
        self.socket_path = runner_socket(settings.server.data_dir)
        self.host.endpoint = f"unix:{self.socket_path}" if self.socket_path else public_url
        self.blobs = self.host.blobs = registry.build_blobs(settings, self.host)
        self.compute = registry.build_compute(settings, self.host)
        self.log_store = registry.build_log_store(settings, self.host)
        self.runtime = registry.build_runtime(settings, self.host)
        self.forges = registry.build_forges(settings, self.host)
        self.background = Background()
        self.objects = Objects(db)
        self.scheduling = Wakeup(self._schedule)
        self.builds = BuildServices(
            settings=settings,
            db=db,
            registry=registry,
            compute=self.compute,
            placement=Chain(registry.build_placement_chain(settings, self.host, STRATEGIES)),
            forges=self.forges,
            logs=BuildLogs(self.log_store, db, registry),
            reports=Reports(
                db,
                self.forges,
                self.background,
                WorkerUrls(public_url=public_url, domain=settings.server.domain),
            ),
            liveness=Liveness(),
            runner_tokens=RunnerTokens(),
            secrets=SecretBox.open(settings.server.data_dir / "secret.key"),
            background=self.background,
            endpoint=self.host.endpoint,
            public_url=public_url,
            wake_scheduler=self.scheduling.set,
        )
        self.objects.register(Scheduler, self.builds)
        self.objects.register(BuildBuddy, self.builds)
        self.front = self._front()

    def _front(self) -> Front:
        builds = self.builds
        deployments = Deployments(builds.db, deployed=self.registry.worker_deployed)
        self.caches = Caches(builds.db, self.blobs, builds.settings.builds)
        self.versions = Versions(builds.db, self.blobs, deployments)
        self.worker_logs = WorkerLogs(self.log_store, builds.db, self.registry, builds.settings.node.name)
        self.relay = Relay(Bounds())
        self.places = make_places(builds.settings, self.registry, self.host, self.relay)
        self.running = self._running(deployments) if self.runtime is not None else None
        gateway = Gateway(
            builds.db,
            self.blobs,
            builds.settings.server.domain,
            registry=self.registry,
            relaying=self._relaying(),
        )
        deployments.subscribe(gateway.forget)
        intake = Intake(builds)
        services = Services(
            settings=builds.settings,
            db=builds.db,
            registry=self.registry,
            secrets=builds.secrets,
            access=Access(builds.db),
            blobs=self.blobs,
            forges=self.forges,
            intake=intake,
            deploy_hooks=DeployHooks(builds, intake),
            control=Control(builds, self.objects),
            logs=builds.logs,
            caches=self.caches,
            runners=Runners(builds, self.objects),
            versions=self.versions,
            deployments=deployments,
            worker_logs=self.worker_logs,
            running=self.running,
            places=self.places,
            public_url=builds.public_url,
        )
        self.host.access = services.access
        self.host.intake = services.intake
        self.host.logs = services.logs
        return Front(gateway, create_app(services, extra_routes=self.registry.routes(self.host)))

    def _running(self, deployments: Deployments) -> Running:
        """What runs deployed workers."""
        assert self.runtime is not None  # noqa: S101  (asked before)
        settings, builds = self.builds.settings, self.builds
        runnables = Runnables(builds.db, self.blobs, builds.secrets)
        folder = settings.server.data_dir / "versions"
        self.version_files = VersionFiles(folder / "files", self.blobs)
        self.starter = InstanceStarter(
            self.runtime,
            self.version_files,
            self.worker_logs,
            settings.runtime,
            location=settings.node.location,
            places=self.places,
            server_root=folder / "servers",
        )
        instances = Instances(self.starter, runnables.load, settings.runtime)
        return Running(
            kinds=self.runtime.kinds,
            instances=instances,
            rollouts=Rollouts(builds.db, deployments, instances),
        )

    def _relaying(self) -> Relaying | None:
        if self.running is None:
            return None
        longest = self.builds.settings.runtime.wait_until
        return Relaying(self.running.instances, self.relay, self.places, longest_wait_until=longest)

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the backends, adopt what still runs, start what runs in the background."""
        for part in (self.blobs, self.log_store, self.compute):
            await part.open()
            stack.push_async_callback(part.close)
        await self.places.open()
        stack.push_async_callback(self.places.close)
        await self._open_runtime(stack)
        await self.objects.clock.recover()
        await Adoption(self.builds, self.objects).run()
        for forge in self.forges.values():
            await forge.open()
            stack.push_async_callback(forge.close)
        stack.push_async_callback(self.background.close, patience=PATIENCE)
        self._keep_running(stack, self.scheduling.run())
        self._keep_running(stack, self.objects.clock.run())
        self._keep_running(stack, self._hear_exits())
        self._keep_running(stack, self._sweep())
        self._keep_running(stack, self.builds.logs.seal_the_rest())
        self._keep_running(stack, self.places.placing.run())
        await self.objects.get(Scheduler, Scheduler.ID).rearm()
        self.scheduling.set()

    async def _open_runtime(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self.worker_logs.close)
        if self.runtime is None or self.running is None:
            return
        await self.version_files.open()
        await self.runtime.open()
        stack.push_async_callback(self.starter.close)
        stack.push_async_callback(self.runtime.close)
        stack.push_async_callback(self.running.instances.close)
        stack.push_async_callback(self.running.rollouts.close)
        stack.callback(self.relay.close)
        settings = self.builds.settings
        urls = WorkerUrls(public_url=self.builds.public_url, domain=settings.server.domain)
        self._keep_running(stack, self.running.rollouts.keep_recovering(urls))

    def _keep_running(self, stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        stack.push_async_callback(end)

    async def _schedule(self) -> None:
        await self.objects.get(Scheduler, Scheduler.ID).round()

    async def _sweep(self) -> None:
        while True:
            await self.versions.sweep()
            await self.caches.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _hear_exits(self) -> None:
        async for status in self.compute.exits():
            self.background.start(self._handle_exit(status))

    async def _handle_exit(self, status: ComputeStatus) -> None:
        await self.objects.get(BuildBuddy, status.build_uuid).handle_exit(status)
