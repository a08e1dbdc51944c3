"""The ASGI application that answers for every host under the gateway's domain."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from kedge.contracts.events import RequestServed
from kedge.errors import NotFound
from kedge.workers.contents import Contents
from kedge.workers.relaying import Relaying
from kedge.workers.served import Served
from kedge.workers.shortcut import Shortcut
from kedge.workers.sites import MOST_HOSTS, Sites
from kedge.workers.static import METHODS, Ask, answer, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from starlette.types import Message, Receive, Scope, Send

    from kedge.contracts.blobs import BlobStore
    from kedge.db.engine import Database
    from kedge.http.answering import Answering
    from kedge.http.request import Header, Request
    from kedge.workers.means import Means
    from kedge.workers.relay.tunnel import Handshake, Program
    from kedge.workers.served import Listeners
    from kedge.workers.sites import Site
    from kedge.workers.static import Reply

log = structlog.get_logger("gateway")


class Gateway:
    """Serves what is deployed: each request from one version, whole."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        domain: str,
        *,
        registry: Listeners,
        means: Means | None = None,
    ) -> None:
        """`domain` is the one whose subdomains are workers; without `means` only files are served."""
        self._suffix = f".{domain}"
        self._sites = Sites(db, blobs)
        self._contents = Contents(blobs)
        self._served = Served(registry)
        self._relaying = None if means is None else Relaying(means)
        self._shortcut = None if means is None else Shortcut(means, self._served)
        self._name = lru_cache(MOST_HOSTS)(self._name_of)

    def serves(self, host: str) -> bool:
        """Whether a request with this `Host` header is the gateway's."""
        return _bare(host).endswith(self._suffix)

    def forget(self, worker: str) -> None:
        """What serves the workers of a name has changed: the very next request sees it."""
        self._sites.forget(worker)

    def at_once(self, request: Request) -> Answering | None:
        """Begin to answer a request for a running worker, if nothing has to be waited for."""
        name = self._name(request.host)
        split = None if name is None else self._sites.at_hand(name)
        if split is None or self._shortcut is None:
            return None
        site = split.only or split.pick(_by_name(request.headers))
        return None if site.manifest is not None else self._shortcut.take(site, request)

    def _name_of(self, host: bytes) -> str | None:
        """The name under the domain; `None` for a host that is not."""
        bare = _bare(host.decode("latin-1"))
        return bare.removesuffix(self._suffix) if bare.endswith(self._suffix) else None

    async def open_tunnel(self, scope: Scope, stack: AsyncExitStack, shake: Handshake) -> Program:
        """The other end of a WebSocket, kept up until `stack` ends.

        Raises `NotFound` for a host at which nothing runs, and as `Relaying.open_tunnel` does.
        """
        headers = _by_name(scope["headers"])
        name = _bare(headers.get(b"host", b"").decode("latin-1")).removesuffix(self._suffix)
        split = self._sites.at_hand(name) or await self._sites.find(name)
        site = None if split is None else split.pick(headers)
        if site is None or site.manifest is not None or self._relaying is None:
            raise NotFound(f"nothing runs at {name[:80]} that could talk")
        return await self._relaying.open_tunnel(site, scope, stack, shake)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = _by_name(scope["headers"])
        name = _bare(headers.get(b"host", b"").decode("latin-1")).removesuffix(self._suffix)
        try:
            split = self._sites.at_hand(name) or await self._sites.find(name)
        except Exception:
            log.exception("cannot tell what to serve", host=name)
            reply = plain(503, "This site cannot be served just now. Try again soon.\n")
            await self._contents.send("", reply, scope, receive, send)
            return
        if split is None:
            await self._contents.send("", _nothing(name), scope, receive, send)
            return
        site = split.pick(headers)
        if self._served.wanted:
            await self._serve_and_tell(site, headers, scope, receive, send)
        else:
            await self._serve(site, headers, scope, receive, send)

    async def _serve(
        self, site: Site, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        if site.manifest is None and self._relaying is not None:
            await self._relaying.serve(site, scope, receive, send)
        else:
            reply = _file(site, scope, headers)
            await self._contents.send(site.serving.account_id, reply, scope, receive, send)

    async def _serve_and_tell(
        self, site: Site, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        started, status, sent = time.perf_counter(), 0, 0

        async def count(message: Message) -> None:
            nonlocal sent, status
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        await self._serve(site, headers, scope, receive, count)
        event = RequestServed(
            account=site.serving.account,
            worker=site.serving.worker,
            version_id=site.serving.version_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=(time.perf_counter() - started) * 1000,
            bytes_sent=sent,
        )
        self._served.tell(event)


def _bare(host: str) -> str:
    return host.partition(":")[0].rstrip(".").lower()


def _by_name(headers: Sequence[Header]) -> dict[bytes, bytes]:
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        joined[name] = joined[name] + b", " + value if name in joined else value
    return joined


def _nothing(name: str) -> Reply:
    return plain(
        404,
        f"Nothing is deployed at {name[:80]}.\n\n"
        "If this is your worker, deploy a folder to it: kedge deploy DIR --worker NAME\n"
        "If it is a preview, its branch may not have been built yet: see kedge builds list\n",
    )


def _file(site: Site, scope: Scope, headers: dict[bytes, bytes]) -> Reply:
    if site.manifest is None:
        return plain(503, "This worker has to run, and this node runs none: set [runtime] use.\n")
    method = scope["method"]
    if method not in METHODS:
        return plain(405, "Only GET and HEAD are answered here.\n", (b"allow", b"GET, HEAD"))
    ask = Ask(
        method,
        scope["raw_path"],
        scope["query_string"],
        headers.get(b"if-none-match", b""),
        headers.get(b"range", b""),
        headers.get(b"if-range", b""),
    )
    return answer(site.manifest.files, ask)
