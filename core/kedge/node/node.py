"""The node."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from kedge.db.bus import Bus
from kedge.db.engine import Database, database_url
from kedge.db.schema import upgrade
from kedge.http.server import Limits, Server
from kedge.node import data_dir, listeners
from kedge.node.config_workers import apply_workers
from kedge.node.first_start import ensure_admin
from kedge.node.open_files import allow_open_files
from kedge.node.parts import Parts
from kedge.node.secret_key import cluster_key, secret_box
from kedge.observe.log import configure
from kedge.workers.relay.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.config import Settings
    from kedge.registry import Registry


class Node:
    """One Kedge process. `run` serves until it is told to stop by a signal or by `stop`."""

    def __init__(self, settings: Settings, registry: Registry, *, ready: Callable[[str], None]) -> None:
        """`ready` is called with the URL once requests are answered."""
        self.settings = settings
        self.registry = registry
        self.url = ""
        self._ready = ready
        self._asked_to_stop = asyncio.Event()

    def stop(self) -> None:
        """Ask a running node to stop. For its own event loop."""
        self._asked_to_stop.set()

    async def run(self) -> None:
        """Start everything, serve, and stop everything in reverse. Running builds go on without the node."""
        settings = self.settings
        configure(
            processors=self.registry.log_processors(),
            format=settings.logging.format,
            level=settings.logging.level,
            node=settings.node.name,
            location=settings.node.location,
        )
        async with AsyncExitStack() as stack:
            stack.enter_context(data_dir.hold(settings.server.data_dir))
            db = Database(database_url(settings.database, settings.server.data_dir))
            stack.push_async_callback(db.close)
            await asyncio.to_thread(upgrade, db.engine)
            bus = Bus(db, settings.node.name)
            await bus.open()
            stack.push_async_callback(bus.close)
            await ensure_admin(db, settings.server.data_dir)
            await self._serve(stack, db, bus)

    async def _serve(self, stack: AsyncExitStack, db: Database, bus: Bus) -> None:
        settings = self.settings
        tcp = listeners.listen_tcp(settings.server.listen)
        stack.callback(tcp.close)
        local_url = listeners.url_of(tcp)
        self.url = settings.server.public_url or local_url
        parts = Parts(
            settings,
            self.registry,
            db,
            bus,
            self.url,
            peer_url=settings.node.url or listeners.url_of(tcp, elsewhere=bus.own_address()),
            cluster_key=await cluster_key(db, secret_box(settings)),
        )
        unix = listeners.listen_unix(parts.socket_path) if parts.socket_path is not None else None
        if unix is not None:
            stack.callback(unix.close)
        await parts.open(stack)
        await self.registry.startup(parts.host)
        stack.push_async_callback(self.registry.shutdown, parts.host)

        def started() -> None:
            data_dir.announce(settings.server.data_dir, local_url)
            parts.background.start(apply_workers(settings, local_url))
            self._ready(self.url)

        servers = self._make_servers(parts)
        for server, listener in zip(servers, (tcp, unix), strict=True):
            await server.open([listener] if listener else [])
        with self._signals():
            started()
            await self._asked_to_stop.wait()
            patience = settings.server.drain_timeout
            await asyncio.gather(*[server.close(patience=patience) for server in servers])

    def _make_servers(self, parts: Parts) -> tuple[Server, Server]:
        """One for everybody, and one for builds, which find there what they need and nothing else."""
        gateway = parts.front.gateway
        settings = self.settings.gateway
        limits = Limits(
            head=settings.head,
            head_within=settings.head_within,
            stalled=settings.stalled,
            # one more file for each that is passed on, and some for everything else
            connections=min(settings.connections, allow_open_files() // 3),
            connections_of_one=settings.connections_of_one,
            proxies=settings.trusted_proxies,
        )
        public = Server(parts.front, limits, shortcut=gateway.at_once, tunnel=partial(Tunnel, gateway))
        return public, Server(parts.runner_app, limits)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop in good order when told so from outside."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
