"""The parts of a node, made once and handed to each other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from kedge.api.access import Access
from kedge.api.app import create_app, create_runner_app
from kedge.api.services import Services
from kedge.builds.adoption import Adoption
from kedge.builds.background import Background
from kedge.builds.buddy import BuildBuddy
from kedge.builds.build_logs import BuildLogs
from kedge.builds.cache_parts import CacheParts
from kedge.builds.caches import Caches
from kedge.builds.control import Control
from kedge.builds.deploy_hooks import DeployHooks
from kedge.builds.elsewhere import LeftElsewhere
from kedge.builds.intake import Intake
from kedge.builds.liveness import Liveness
from kedge.builds.reports import Reports
from kedge.builds.runner_tokens import RunnerTokens
from kedge.builds.runners import Runners
from kedge.builds.scheduler import Scheduler
from kedge.builds.services import BuildServices
from kedge.builds.talks_to import TalksTo
from kedge.builds.wakeup import Wakeup
from kedge.cleaning.cleaner import Cleaner
from kedge.node.data_dir import runner_socket
from kedge.node.front import Front
from kedge.node.host import NodeHost
from kedge.node.membership import Membership
from kedge.node.places import make_places, peers_tls
from kedge.node.secret_key import secret_box
from kedge.objects import Objects
from kedge.placement.chain import Chain
from kedge.placement.control_plane import ControlPlane
from kedge.placement.peers import Peers
from kedge.placement.strategies import STRATEGIES
from kedge.workers.deployments import Deployments
from kedge.workers.doomed import DoomedBlobs
from kedge.workers.gateway import Gateway
from kedge.workers.instances import Instances
from kedge.workers.loading import Runnables
from kedge.workers.means import Means
from kedge.workers.placed import PlacementSettings
from kedge.workers.relay.relay import Bounds, Relay
from kedge.workers.retirement import Retirement
from kedge.workers.rollouts import Rollouts
from kedge.workers.running import Running
from kedge.workers.starter import InstanceStarter
from kedge.workers.urls import WorkerUrls
from kedge.workers.version_files import VersionFiles
from kedge.workers.versions import Versions
from kedge.workers.visitors import Visitors
from kedge.workers.warm_up import WarmUp
from kedge.workers.worker_logs import WorkerLogs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping
    from contextlib import AsyncExitStack
    from typing import Any

    from kedge.config import Settings
    from kedge.contracts.compute import ComputeStatus
    from kedge.db.bus import Bus
    from kedge.db.engine import Database
    from kedge.registry import Registry

log = structlog.get_logger("node")


#: uploads that nobody completed are cleared out this often
SWEEP_SECONDS = 3600.0
#: what has failed goes on after so long
RESTART_SECONDS = 1.0
ROUND_AFTER_SECONDS = 0.05
#: background work gets this long to finish when the node stops
PATIENCE = 5.0


class Parts:
    """Everything a node is made of."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        db: Database,
        bus: Bus,
        public_url: str,
        *,
        peer_url: str = "",
        cluster_key: str | None = None,
    ) -> None:
        """Make the parts; nothing is opened or started yet.

        `peer_url` is where other nodes of the database reach this one, and `cluster_key` what they sign with.
        """
        self.registry = registry
        self._cluster_key = cluster_key
        self.control_plane = ControlPlane(settings.node.name, settings.node.location)
        self.bus = bus
        self.host = NodeHost(settings, db)
        tls = peers_tls(settings, self.host) if settings.peers or db.shared else None
        self.peers = Peers(settings.peers, but=settings.node.name, tls=tls)
        self.host.public_url = public_url
        self.socket_path = runner_socket(settings.server.data_dir)
        self.host.endpoint = f"unix:{self.socket_path}" if self.socket_path else public_url
        self.blobs = self.host.blobs = registry.build_blobs(settings, self.host)
        self.compute = registry.build_compute(settings, self.host)
        self.log_store = registry.build_log_store(settings, self.host)
        self.runtime = registry.build_runtime(settings, self.host)
        self.forges = registry.build_forges(settings, self.host)
        self.background = Background()
        self.objects = Objects(db, settings.node.name)
        self.scheduling = Wakeup(self._schedule)
        secrets = secret_box(settings)
        self.builds = BuildServices(
            settings=settings,
            db=db,
            registry=registry,
            compute=self.compute,
            placement=Chain(registry.build_placement_chain(settings, self.host, STRATEGIES)),
            forges=self.forges,
            logs=BuildLogs(self.log_store, db, registry, bus.tell),
            reports=Reports(
                db,
                self.forges,
                self.background,
                WorkerUrls(public_url=public_url, domain=settings.server.domain),
            ),
            liveness=Liveness(),
            runner_tokens=RunnerTokens(),
            secrets=secrets,
            background=self.background,
            endpoint=self.host.endpoint,
            public_url=public_url,
            talks_to=TalksTo(self.forges, secrets),
            distances=self._distances,
            elsewhere=LeftElsewhere(),
            wake_scheduler=self._wake_schedulers,
            tell_nodes=bus.tell,
        )
        self.membership = Membership(
            self.builds,
            self.objects,
            self.peers,
            self.control_plane,
            url=peer_url,
            shares=self.blobs.shared and self.log_store.shared,
        )
        self.objects.register(Scheduler, self.builds)
        self.objects.register(BuildBuddy, self.builds)
        self.front = self._front()

    def _front(self) -> Front:
        builds = self.builds
        deployments = Deployments(
            builds.db, deployed=self.registry.worker_deployed, node=builds.settings.node.name
        )
        self.caches = Caches(builds.db, self.blobs, builds.settings.builds)
        self.cache_parts = CacheParts(builds.db, self.blobs, builds.settings.builds, self.caches)
        doomed = DoomedBlobs(builds.db, self.blobs, builds.settings.node.name)
        self.versions = Versions(builds.db, self.blobs, deployments, doomed)
        self.cleaner = Cleaner(
            builds.db, self.blobs, doomed, builds.settings.retention, changed=deployments.tell
        )
        self.worker_logs = WorkerLogs(
            self.log_store, builds.db, builds.settings.node.name, tell_nodes=self.bus.tell
        )
        limits = builds.settings.gateway
        self.relay = Relay(
            Bounds(first_byte=limits.first_byte, idle=limits.idle, body=limits.body), self.peers.tls
        )
        self.places = make_places(
            builds.settings,
            self.registry,
            self.host,
            self.relay,
            self.peers,
            db=builds.db,
            cluster_key=self._cluster_key,
        )
        self.running = self._running(deployments) if self.runtime is not None else None
        gateway = Gateway(
            builds.db,
            self.blobs,
            builds.settings.server.domain,
            registry=self.registry,
            means=self._means(),
        )
        deployments.subscribe(gateway.forget)
        if self.running is not None:
            self.running.retirement.subscribe(gateway.forget)
        deployments.subscribe(partial(self.bus.tell, "worker"))
        self.bus.subscribe("worker", partial(self._worker_changed, gateway))
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
            cache_parts=self.cache_parts,
            cleaner=self.cleaner,
            runners=Runners(builds, self.objects),
            versions=self.versions,
            deployments=deployments,
            worker_logs=self.worker_logs,
            running=self.running,
            places=self.places,
            control_plane=self.control_plane,
            placement_settings=PlacementSettings(builds.db, self.blobs, self.versions),
            public_url=builds.public_url,
        )
        self.host.access = services.access
        self.host.intake = services.intake
        self.host.logs = services.logs
        extra_routes = self.registry.routes(self.host)
        #: what answers builds of this machine by the socket
        self.runner_app = create_runner_app(services, extra_routes)
        return Front(gateway, create_app(services, extra_routes))

    def _worker_changed(self, gateway: Gateway, name: str) -> None:
        """Another node has changed what serves a worker."""
        gateway.forget(name)
        if self.running is not None:
            self.running.retirement.look()

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
        exchange = self.places.exchange if builds.db.shared else None
        warm_up = WarmUp(builds.db, instances, exchange, node=settings.node.name)
        return Running(
            kinds=self.runtime.kinds,
            instances=instances,
            rollouts=Rollouts(builds.db, deployments, instances, warm_up=warm_up, node=settings.node.name),
            warm_up=warm_up,
            retirement=Retirement(builds.db, instances),
        )

    def _means(self) -> Means | None:
        if self.running is None:
            return None
        settings = self.builds.settings
        return Means(
            instances=self.running.instances,
            relay=self.relay,
            places=self.places,
            visitors=Visitors(settings.gateway.trusted_proxies),
            longest_wait_until=settings.runtime.wait_until,
        )

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the backends, adopt what still runs, start what runs in the background."""
        for part in (self.blobs, self.log_store, self.compute):
            await part.open()
            stack.push_async_callback(part.close)
        await self.builds.talks_to.find_store(self.blobs)
        await self.membership.open()
        stack.push_async_callback(self.membership.close)
        await self.places.open()
        stack.push_async_callback(self.places.close)
        await self._open_runtime(stack)
        await self.objects.clock.recover()
        await Adoption(self.builds, self.objects, alone=await self.membership.alone()).run()
        for forge in self.forges.values():
            await forge.open()
            stack.push_async_callback(forge.close)
        stack.push_async_callback(self.background.close, patience=PATIENCE)
        self._hear_other_nodes()
        self._keep_running(stack, self.bus.listen)
        self._keep_running(stack, self.bus.speak)
        self._keep_running(stack, partial(self.membership.run, self.scheduling.set))
        self._keep_running(stack, self.scheduling.run)
        self._keep_running(stack, self.objects.clock.run)
        self._keep_running(stack, self._hear_exits)
        self._keep_running(stack, self._sweep)
        self._keep_running(stack, self.cleaner.keep_cleaning)
        self._keep_running(stack, self.builds.logs.seal_the_rest)
        self._keep_running(stack, self.worker_logs.seal_the_rest)
        self._keep_running(stack, self.places.run)
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
        self._keep_running(stack, partial(self.running.rollouts.keep_recovering, urls))
        self._keep_running(stack, self.running.retirement.run)

    def _hear_other_nodes(self) -> None:
        def changed(log_id: str) -> None:
            self.builds.logs.look_again(log_id)
            self.worker_logs.look_again(log_id)
            self.builds.runner_tokens.forget_build(log_id)

        def wake(_: str) -> None:
            # the node that told has its own round first, so that not all reach for the same build
            asyncio.get_running_loop().call_later(ROUND_AFTER_SECONDS, self.scheduling.set)

        self.bus.subscribe("build", changed)
        self.bus.subscribe("end", self.membership.look)
        self.bus.subscribe("round", wake)
        self.bus.subscribe("removed", lambda worker_id: self.background.start(self._drop(worker_id)))

    async def _drop(self, worker_id: str) -> None:
        """A worker was removed at another node."""
        if self.running is not None:
            self.running.retirement.look()
        await self.worker_logs.drop(worker_id)

    def _distances(self, targets: Collection[str]) -> Mapping[str, Mapping[str, float]]:
        return self.places.placing.distances(targets)

    def _wake_schedulers(self) -> None:
        self.scheduling.set()
        self.bus.tell("round")

    def _keep_running(self, stack: AsyncExitStack, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(_restarted(work))

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


async def _restarted(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work`, again and again while it fails: a database that was away must not end a node's parts."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("background work failed; it begins again")
            await asyncio.sleep(RESTART_SECONDS)
