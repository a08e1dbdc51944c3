"""What serves a worker, and how that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.contracts.events import Deployed
from kedge.db.clock import now_ms
from kedge.db.engine import after_commit
from kedge.db.queries import deployments as queries
from kedge.db.queries import versions as version_queries
from kedge.db.queries.deployments import Note
from kedge.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlmodel import Session

    from kedge.contracts.host import Principal
    from kedge.db.engine import Database
    from kedge.db.tables import Deployment, Version, Worker
    from kedge.workers.urls import WorkerUrls

#: deployments that are listed and that a rollback looks at
RECENT = 100
#: preview aliases that a worker keeps
MOST_ALIASES = 1000


@dataclass(frozen=True, kw_only=True)
class Change:
    """Where a version shall serve: in production, under an alias, or both."""

    note: Note
    live: bool = True
    alias: str | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A version that can be seen from now on, and what there is to tell of it."""

    version: Version
    worker: str
    account: str
    #: see `WorkerUrls`
    place: str
    deployment: Deployment | None = None
    alias: str | None = None


class Deployments:
    """The deployments of all workers. Every change is one transaction: a request sees it whole or not."""

    def __init__(self, db: Database, *, deployed: Callable[[Deployed], Awaitable[None]]) -> None:
        """`deployed` is told of every version that begins to serve, after it does."""
        self._db = db
        self._deployed = deployed
        self._subscribers: list[Callable[[str], None]] = []

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Call `changed(worker's name)` on the event loop as soon as what serves a worker has changed."""
        self._subscribers.append(changed)

    async def list(self, account_id: str, worker: str) -> list[Deployment]:
        """The most recent deployments, newest first. Raises `NotFound`."""
        return await self._db.read(_list, account_id, worker)

    async def current(self, account_id: str, worker: str) -> Deployment | None:
        """What serves now. Raises `NotFound` for an unknown worker."""
        found = await self.list(account_id, worker)
        return found[0] if found else None

    async def deploy(
        self, principal: Principal, worker: str, version_id: str, *, message: str = "", urls: WorkerUrls
    ) -> Deployment:
        """Let a version serve all traffic. Raises `NotFound` for an unknown worker or version."""
        change = Change(note=Note(source="api", author=principal.token_name, message=message))
        return await self._change(principal, worker, version_id, change, urls)

    async def rollback(
        self,
        principal: Principal,
        worker: str,
        version_id: str | None = None,
        *,
        message: str = "",
        urls: WorkerUrls,
    ) -> Deployment:
        """Serve a version again: the one named, or else the one that served before the present one.

        Raises `NotFound` for an unknown one, `Conflict` if there is no earlier one.
        """
        change = Change(note=Note(source="rollback", author=principal.token_name, message=message))
        return await self._change(principal, worker, version_id, change, urls)

    async def _change(
        self, principal: Principal, worker: str, version_id: str | None, change: Change, urls: WorkerUrls
    ) -> Deployment:
        if principal.build_uuid is not None:
            raise Forbidden("the token of a build deploys what the build uploads and nothing else")
        published = await self._db.write(self._store, principal.account_id, worker, version_id, change)
        await self.announce(published, urls)
        assert published.deployment is not None  # noqa: S101  (`change.live` is true)
        return published.deployment

    def _store(
        self, session: Session, account_id: str, name: str, version_id: str | None, change: Change
    ) -> Published:
        worker = version_queries.find_worker(session, account_id, name)
        if version_id is None:
            version_id = queries.previous_version_id(session, worker.id, within=RECENT)
        version = version_queries.get(session, worker.id, version_id)
        return self.publish(session, worker, version, change)

    def publish(self, session: Session, worker: Worker, version: Version, change: Change) -> Published:
        """Let a version serve, in production or under an alias, within the caller's transaction."""
        now = now_ms()
        deployment = queries.add(session, version, change.note, now=now) if change.live else None
        if change.alias is not None:
            version_queries.set_alias(session, version, change.alias, keep=MOST_ALIASES, now=now)
        name = worker.name
        after_commit(session, lambda: self._tell(name))
        account = version_queries.account(session, worker.account_id)
        return Published(
            version=version,
            worker=worker.name,
            account=account.name,
            place=queries.place(session, worker, account),
            deployment=deployment,
            alias=change.alias,
        )

    async def announce(self, published: Published, urls: WorkerUrls) -> None:
        """Fire the hooks for what `publish` did, once it is committed."""
        if published.deployment is not None:
            await self._deployed(_event(published, urls.production(published.place), None))
        if published.alias is not None:
            url = urls.alias(published.place, published.alias)
            await self._deployed(_event(published, url, published.alias))

    def _tell(self, worker: str) -> None:
        for changed in self._subscribers:
            changed(worker)


def _list(session: Session, account_id: str, worker: str) -> list[Deployment]:
    found = version_queries.find_worker(session, account_id, worker)
    return queries.newest(session, found.id, limit=RECENT)


def _event(published: Published, url: str, alias: str | None) -> Deployed:
    return Deployed(
        account=published.account,
        worker=published.worker,
        version_id=published.version.id,
        url=url,
        alias=alias,
        build_uuid=published.version.build_uuid,
    )
