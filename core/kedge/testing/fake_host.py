"""A host that remembers what it was told, for tests of plugins and backends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge.config import resolve_secret
from kedge.contracts.host import Principal
from kedge.errors import NotFound, Unauthorized
from kedge.testing.memory import MemoryBlobs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.forge import Delivery, Push, Repo
    from kedge.contracts.log_store import HotLogs


@dataclass(kw_only=True)
class FakeBuild:
    """A build whose log a test writes; followers get what is there and then what comes."""

    build_uuid: str = field(default_factory=lambda: str(uuid4()))
    #: followers that read at this moment
    followers: int = 0
    _chunks: list[bytes] = field(default_factory=list)
    _finished: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, data: bytes) -> None:
        """Add to the log; every follower gets it."""
        self._chunks.append(data)
        self._tell()

    def finish(self, last_line: bytes = b"success\n") -> None:
        """Write the last line and end the log."""
        self._chunks.append(last_line)
        self._finished = True
        self._tell()

    async def follow(self) -> AsyncGenerator[bytes]:
        """Yield the log from its start until it is finished."""
        self.followers += 1
        self._tell()
        try:
            seen = 0
            while seen < len(self._chunks) or not self._finished:
                changed = self._changed
                if seen == len(self._chunks):
                    await changed.wait()
                    continue
                seen += 1
                yield self._chunks[seen - 1]
        finally:
            self.followers -= 1
            self._tell()

    async def wait_for_followers(self, count: int) -> None:
        """Return once exactly `count` followers read the log."""
        while self.followers != count:
            await self._changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class FakeHost:
    """A `kedge.Host` that a test steers.

    Fill `tokens` (or call `grant`) to let callers in, `builds` (or call `build_on`) to say what a push
    queues. `deliveries` holds what was received, each once; `failures` are raised by the next calls of
    `receive`, in order. Usable from one event loop.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        public_url: str = "http://127.0.0.1:8787",
        endpoint: str = "",
        node: str = "test",
        location: str = "local",
        blobs: BlobStore | None = None,
        hot_logs: HotLogs | None = None,
    ) -> None:
        """Keep files under `data_dir`; `public_url` may be set later, when a port is known.

        `endpoint` is the same as `public_url` if not given; `blobs` are in memory.
        """
        self.blobs: BlobStore = MemoryBlobs() if blobs is None else blobs
        self.hot_logs = hot_logs
        self.node = node
        self.location = location
        self.data_dir = data_dir
        self.public_url = public_url
        self.endpoint = endpoint or public_url
        self.tokens: dict[str, Principal] = {}
        #: repositories that exist; `None` admits every one of the caller's account
        self.repos: set[Repo] | None = None
        #: builds that a push to a branch queues
        self.builds: dict[str, list[FakeBuild]] = {}
        self.deliveries: list[Delivery] = []
        self.failures: list[Exception] = []
        self._queued: dict[str, list[str]] = {}
        self._received = asyncio.Event()

    def grant(
        self, token: str, *, account: str = "default", can_write: bool = True, build_uuid: str | None = None
    ) -> Principal:
        """Make `token` speak for `account`."""
        self.tokens[token] = Principal(
            account_id=f"{account}-id",
            account_name=account,
            token_name=f"{account}-token",
            can_write=can_write,
            build_uuid=build_uuid,
        )
        return self.tokens[token]

    def build_on(self, branch: str) -> FakeBuild:
        """Let every later push to `branch` queue one more build, the one returned."""
        build = FakeBuild()
        self.builds.setdefault(branch, []).append(build)
        return build

    @property
    def pushes(self) -> list[Push]:
        """All pushes received so far, in order."""
        return [push for delivery in self.deliveries for push in delivery.pushes]

    async def wait_for_deliveries(self, count: int) -> list[Delivery]:
        """Return the deliveries once there are at least `count`."""
        while len(self.deliveries) < count:
            await self._received.wait()
        return self.deliveries

    def secret(self, ref: str) -> str:
        """Look a secret up in the environment, or in a file below the data dir."""
        return resolve_secret(ref, self.data_dir)

    async def authenticate(self, token: str) -> Principal:
        """Look the token up."""
        try:
            return self.tokens[token]
        except KeyError:
            raise Unauthorized("no such token; use one that `grant` made") from None

    async def authorize_repo(self, principal: Principal, repo: Repo, *, write: bool) -> None:
        """Admit an account to its own repositories, and an attempt's token to reading them."""
        known = self.repos is None or repo in self.repos
        writes = principal.can_write and principal.build_uuid is None
        if not known or repo.owner != principal.account_name or (write and not writes):
            raise NotFound(f"{repo.owner}/{repo.name} is not there, or not for this token")

    async def receive(self, delivery: Delivery) -> Sequence[str]:
        """Remember the delivery and return the builds of its branches; a repeated one changes nothing."""
        if self.failures:
            raise self.failures.pop(0)
        if delivery.delivery_id not in self._queued:
            builds = [build for push in delivery.pushes for build in self.builds.get(push.branch, ())]
            self._queued[delivery.delivery_id] = [build.build_uuid for build in builds]
            self.deliveries.append(delivery)
            received, self._received = self._received, asyncio.Event()
            received.set()
        return self._queued[delivery.delivery_id]

    def follow(self, build_uuid: str) -> AsyncGenerator[bytes]:
        """Yield what the test writes to that build. Raises `NotFound` for one that nobody made."""
        made = (build for builds in self.builds.values() for build in builds)
        for build in made:
            if build.build_uuid == build_uuid:
                return build.follow()
        raise NotFound(f"no build {build_uuid}")
