"""What a plugin is given of Kedge, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.forge import Delivery, Repo
    from kedge.contracts.log_store import HotLogs


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who a token speaks for.

    `build_uuid` is set for the token of one attempt: it may read its own repository and, of a trusted build,
    deploy its own worker, and nothing else.
    """

    account_id: str
    account_name: str
    token_name: str
    can_write: bool = True
    build_uuid: str | None = None


class Host(Protocol):
    """The running node, as plugins see it."""

    @property
    def node(self) -> str:
        """This node's name."""
        ...

    @property
    def location(self) -> str:
        """The location this node is in."""
        ...

    @property
    def data_dir(self) -> Path:
        """A folder of this node for the plugin's own files; make a subfolder of your name."""
        ...

    @property
    def public_url(self) -> str:
        """Where users reach the API, with no slash at the end. Known once the node listens."""
        ...

    @property
    def endpoint(self) -> str:
        """Where runners on this machine find the node: `unix:/path`, or a URL. Known when backends open."""
        ...

    @property
    def blobs(self) -> BlobStore:
        """The chosen blob store; it opens before, and closes after, every other backend."""
        ...

    @property
    def hot_logs(self) -> HotLogs | None:
        """Where logs grow that every node reads; `None` where a node has its database for itself."""
        ...

    def secret(self, ref: str) -> str:
        """What `env:NAME` or `file:PATH` in the settings stands for. Raises `ConfigError`, with no value."""
        ...

    async def authenticate(self, token: str) -> Principal:
        """Who `token` speaks for. Raises `Unauthorized`."""
        ...

    async def authorize_repo(self, principal: Principal, repo: Repo, *, write: bool) -> None:
        """Raise `NotFound` unless `principal` may read (or write) `repo`."""
        ...

    async def receive(self, delivery: Delivery) -> Sequence[str]:
        """Store a delivery, queue its builds and return their uuids. A known delivery queues nothing new."""
        ...

    def follow(self, build_uuid: str) -> AsyncIterator[bytes]:
        """Yield a build's log as it grows, from its start, then a last line that tells how it ended.

        While it waits for long, lines between say why.
        """
        ...
