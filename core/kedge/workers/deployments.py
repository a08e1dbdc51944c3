"""What serves a worker, and how that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.contracts.events import Deployed
from kedge.db.clock import now_ms
from kedge.db.engine import after_commit
from kedge.db.queries import deployments as queries
from kedge.db.queries import versions as version_queries
from kedge.db.queries.deployments import Note, Traffic
from kedge.errors import Forbidden, InvalidInput
from kedge.workers.manifest import STATIC

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from sqlmodel import Session

    from kedge.contracts.host import Principal
    from kedge.db.engine import Database
    from kedge.db.tables import Deployment, Version, Worker
    from kedge.workers.urls import WorkerUrls

#: deployments that are listed and that a rollback looks at
RECENT = 100
#: percent that may be missing where somebody divided by three
ROUNDING = 0.01
#: preview aliases that a worker keeps
MOST_ALIASES = 1000


@dataclass(frozen=True, kw_only=True)
class Change:
    """Where a version shall serve: in production, under an alias, or both."""

    note: Note
    live: bool = True
    alias: str | None = None


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of the traffic a version shall get."""

    version_id: str
    percentage: float = 100


@dataclass(frozen=True, kw_only=True)
class Published:
    """A version that can be seen from now on, and what there is to tell of it."""

    #: of several the one that gets the most traffic
    version: Version
    worker: str
    account: str
    #: see `WorkerUrls`
    place: str
    deployment: Deployment | None = None
    alias: str | None = None


class Deployments:
    """The deployments of all workers. Every change is one transaction: a request sees it whole or not."""

    def __init__(
        self, db: Database, *, deployed: Callable[[Deployed], Awaitable[None]], node: str = ""
    ) -> None:
        """`deployed` is told of every version that begins to serve, after it does; `node` is this one."""
        self._db = db
        self._node = node
        self._deployed = deployed
        self._subscribers: list[Callable[[str], None]] = []
        self._starters: list[Callable[[str, WorkerUrls], None]] = []

    def start_by(self, start: Callable[[str, WorkerUrls], None]) -> None:
        """Call `start(deployment's uuid, urls)` for each deployment that waits for instances.

        Without anybody to start them only files can be deployed.
        """
        self._starters.append(start)

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Call `changed(worker's name)` on the event loop as soon as what serves a worker has changed."""
        self._subscribers.append(changed)

    async def list(self, account_id: str, worker: str) -> list[Deployment]:
        """The most recent deployments, newest first. Raises `NotFound`."""
        return await self._db.read(_list, account_id, worker)

    async def current(self, account_id: str, worker: str) -> Deployment | None:
        """What serves now. Raises `NotFound` for an unknown worker."""
        return await self._db.read(_current, account_id, worker)

    async def deploy(
        self,
        principal: Principal,
        worker: str,
        shares: Sequence[Share],
        *,
        message: str = "",
        urls: WorkerUrls,
    ) -> Deployment:
        """Let versions serve, each its share; once their instances answer, if they have any.

        Raises `NotFound` for an unknown worker or version, `InvalidInput` for shares that are not 100.
        """
        check_shares(shares)
        change = Change(note=Note(source="api", author=principal.token_name, message=message))
        return await self._change(principal, worker, shares, change, urls)

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
        shares = [] if version_id is None else [Share(version_id=version_id)]
        return await self._change(principal, worker, shares, change, urls)

    async def _change(
        self, principal: Principal, worker: str, shares: Sequence[Share], change: Change, urls: WorkerUrls
    ) -> Deployment:
        if principal.build_uuid is not None:
            raise Forbidden("the token of a build deploys what the build uploads and nothing else")
        published = await self._db.write(self._store, principal.account_id, worker, shares, change)
        await self.announce(published, urls)
        assert published.deployment is not None  # noqa: S101  (`change.live` is true)
        return published.deployment

    def _store(
        self, session: Session, account_id: str, name: str, shares: Sequence[Share], change: Change
    ) -> Published:
        worker = version_queries.find_worker(session, account_id, name)
        if not shares:
            previous = queries.previous_version_id(session, worker.id, within=RECENT)
            shares = [Share(version_id=previous)]
        traffic = [
            Traffic(
                version=version_queries.get(session, worker.id, share.version_id), percentage=share.percentage
            )
            for share in shares
        ]
        return self.publish(session, worker, traffic, change)

    def publish(
        self, session: Session, worker: Worker, traffic: Sequence[Traffic], change: Change
    ) -> Published:
        """Let versions serve, in production or under an alias, within the caller's transaction."""
        now = now_ms()
        version = max(traffic, key=lambda one: one.percentage).version
        runs = any(one.version.kind != STATIC for one in traffic)
        state = queries.STARTING if runs and self._starters else queries.ACTIVE
        deployment = None
        if change.live:
            deployment = queries.add(session, traffic, change.note, state=state, node=self._node, now=now)
        if change.alias is not None:
            version_queries.set_alias(session, version, change.alias, keep=MOST_ALIASES, now=now)
        name = worker.name
        after_commit(session, lambda: self.tell(name))
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
        deployment = published.deployment
        if deployment is not None and deployment.state == queries.STARTING:
            for start in self._starters:
                start(deployment.uuid, urls)
        elif deployment is not None:
            await self._deployed(_event(published, urls.production(published.place), None))
        if published.alias is not None:
            url = urls.alias(published.place, published.alias)
            await self._deployed(_event(published, url, published.alias))

    async def settle(self, uuid: str, failure: dict[str, Any] | None, urls: WorkerUrls) -> bool:
        """The instances of a deployment answer, or failed to. Whether it was still waiting for them."""
        published = await self._db.write(self._settle, uuid, failure)
        if published is None:
            return False
        if failure is None:
            await self.announce(published, urls)
        return True

    def _settle(self, session: Session, uuid: str, failure: dict[str, Any] | None) -> Published | None:
        deployment = queries.by_uuid(session, uuid, lock=True)
        if deployment is None or deployment.state != queries.STARTING:
            return None
        if failure is not None and deployment.node != self._node:
            # another node has taken it up, and may do better
            return None
        deployment.state = queries.ACTIVE if failure is None else queries.FAILED
        deployment.failure = failure or {}
        session.flush()
        version = max(queries.versions_of(session, deployment), key=lambda one: one.percentage).version
        worker = version_queries.find_worker(session, deployment.account_id, deployment.worker_id)
        account = version_queries.account(session, worker.account_id)
        name = worker.name
        after_commit(session, lambda: self.tell(name))
        return Published(
            version=version,
            worker=name,
            account=account.name,
            place=queries.place(session, worker, account),
            deployment=deployment,
        )

    def tell(self, worker: str) -> None:
        """Tell those who have subscribed that a worker's versions have changed."""
        for changed in self._subscribers:
            changed(worker)


def _list(session: Session, account_id: str, worker: str) -> list[Deployment]:
    found = version_queries.find_worker(session, account_id, worker)
    return queries.newest(session, found.id, limit=RECENT)


def _current(session: Session, account_id: str, worker: str) -> Deployment | None:
    return queries.serving(session, version_queries.find_worker(session, account_id, worker).id)


def check_shares(shares: Sequence[Share]) -> None:
    """Raise `InvalidInput` unless the shares are all traffic, and of different versions."""
    if abs(sum(share.percentage for share in shares) - 100) > ROUNDING:
        raise InvalidInput("the percentages of a deployment's versions must be 100 together")
    if len({share.version_id for share in shares}) != len(shares):
        raise InvalidInput("a deployment names the same version twice; give it one share")


def _event(published: Published, url: str, alias: str | None) -> Deployed:
    return Deployed(
        account=published.account,
        worker=published.worker,
        version_id=published.version.id,
        url=url,
        alias=alias,
        build_uuid=published.version.build_uuid,
    )
