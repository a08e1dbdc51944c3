"""Which version answers for a host, remembered for a moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from kedge.db.queries import deployments as queries
from kedge.db.queries.deployments import Serving
from kedge.workers.lru import Lru
from kedge.workers.manifest import STATIC, Manifest, manifest_key
from kedge.workers.previews import ALIAS, VERSION_PREFIX, splits
from kedge.workers.shares import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.db.engine import Database
    from kedge.db.tables import Account, Version, Worker

    Owners = dict[str, tuple[Worker, Account]]

log = structlog.get_logger("gateway")

#: seconds after which the database is asked again: what another node deploys is served by then
TRUSTED_FOR = 1.0
#: hosts that are remembered
MOST_HOSTS = 4096
#: files of the manifests that are kept in memory, of all versions together
MANIFEST_FILES = 50_000
#: characters of the longest host that can mean anything
LONGEST_NAME = 253


@dataclass(frozen=True)
class Site:
    """One version, whole: what a request is answered from, start to end."""

    serving: Serving
    #: of files; instances know their own
    manifest: Manifest | None
    #: where its requests shall run, as its author said
    wish: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """The sites among which a worker's traffic is split, the newest version first."""

    sites: tuple[Site, ...]
    #: the one that has all of it, if one has
    only: Site | None = field(init=False)

    def __post_init__(self) -> None:
        """Tell them apart once."""
        object.__setattr__(self, "only", self.sites[0] if len(self.sites) == 1 else None)

    def pick(self, headers: Mapping[bytes, bytes]) -> Site:
        """The site for one request; see `kedge.workers.shares`."""
        if self.only is not None:
            return self.only
        shares = [(site.serving.version_id, site.serving.percentage) for site in self.sites]
        return self.sites[choose(self.sites[0].serving.worker, shares, headers)]


@dataclass
class Seen:
    """What the database said, and when it was asked."""

    serving: tuple[Serving, ...]
    asked_at: float
    #: kept if no files are among what serves: those are in memory only as far as there is room
    running: Split | None = None


class Sites:
    """Finds the site of a name under the gateway's domain."""

    def __init__(
        self, db: Database, blobs: BlobStore, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is known yet."""
        self._db = db
        self._clock = clock
        self._blobs = blobs
        self._seen: Lru[str, Seen] = Lru(MOST_HOSTS)
        #: names that mean nothing, which push out none that does, and when the database said so
        self._nothing: Lru[str, float] = Lru(MOST_HOSTS)
        self._manifests: Lru[tuple[str, str], Manifest] = Lru(MANIFEST_FILES)
        self._asking: dict[str, asyncio.Task[Split | None]] = {}

    def at_hand(self, name: str) -> Split | None:
        """The sites, if they can be told without waiting."""
        # it is put there again as soon as it is not trusted any more: so much for when it was used
        seen = self._seen.peek(name)
        if seen is None or self._clock() - seen.asked_at >= TRUSTED_FOR:
            return None
        return seen.running or self._split(seen)

    def _split(self, seen: Seen) -> Split | None:
        sites: list[Site] = []
        for serving in seen.serving:
            manifest = self._manifests.get((serving.account_id, serving.digest))
            if manifest is None:
                return None
            sites.append(_site(serving, manifest))
        split = Split(tuple(sites))
        if all(site.manifest is None for site in sites):
            seen.running = split
        return split

    async def find(self, name: str) -> Split | None:
        """The sites, or `None` if nothing is deployed under that name. Concurrent calls look it up once."""
        if len(name) > LONGEST_NAME or not (name.isascii() and name.isprintable()):
            return None
        nothing_at = self._nothing.peek(name)
        if nothing_at is not None and self._clock() - nothing_at < TRUSTED_FOR:
            return None
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._look_up(name))
        return await asyncio.shield(task)

    def forget(self, worker: str) -> None:
        """Ask again for every host that may mean a worker of that name: what serves it has changed."""
        # A question that is on its way may be answered with what was before.
        self._asking.clear()
        for known in (self._seen, self._nothing):
            for name in [name for name in known if worker in name]:
                known.drop(name)

    async def _look_up(self, name: str) -> Split | None:
        try:
            found = await self._ask(name)
            sites = [_site(serving, await self._manifest(serving)) for serving in found]
            return Split(tuple(sites)) if sites else None
        finally:
            if self._asking.get(name) is asyncio.current_task():
                del self._asking[name]

    async def _ask(self, name: str) -> tuple[Serving, ...]:
        asked_at = self._clock()
        try:
            serving = await self._db.read(serving_for, name)
        except Exception:
            seen = self._seen.get(name)
            if seen is None:
                raise
            log.warning("the database does not answer; serving what was deployed before", exc_info=True)
            return seen.serving
        # Otherwise a deploy has overtaken the question.
        if self._asking.get(name) is asyncio.current_task():
            self._remember(name, serving, asked_at)
        return serving

    def _remember(self, name: str, serving: tuple[Serving, ...], asked_at: float) -> None:
        if serving:
            self._seen.put(name, Seen(serving, asked_at))
            self._nothing.drop(name)
        else:
            self._nothing.put(name, asked_at)
            self._seen.drop(name)

    async def _manifest(self, serving: Serving) -> Manifest:
        key = (serving.account_id, serving.digest)
        manifest = self._manifests.get(key)
        if manifest is None:
            data = b"".join([part async for part in self._blobs.get(manifest_key(*key))])
            manifest = await asyncio.to_thread(Manifest.from_json, data)
            self._manifests.put(key, manifest, cost=len(manifest.files) + 1)
        return manifest


def _site(serving: Serving, manifest: Manifest) -> Site:
    if serving.kind == STATIC or manifest.run is None:
        return Site(serving, manifest)
    return Site(serving, None, manifest.run.placement)


def serving_for(session: Session, name: str) -> tuple[Serving, ...]:
    """What serves `worker`, `alias-worker` or `versionprefix-worker`, each perhaps with `.account`.

    A worker of exactly that name comes first, then the longest worker name that gives a version. Of
    several accounts' workers of one name, the oldest is meant unless the account is named; of several
    accounts that the host may mean, all readings of one come before those of the next.
    """
    label, dot, account = name.partition(".")
    if "." in account or (dot and not account):
        return ()
    readings = [(alias, worker) for alias, worker in splits(label) if _may_name_version(alias)]
    owners = queries.owners(session, [label, *(worker for _, worker in readings)], account or None)
    for one_account in _by_account(owners):
        if serving := _serving_in(session, one_account, label, readings):
            return serving
    return ()


def _by_account(owners: Owners) -> list[Owners]:
    """Whose worker is older comes first: nobody's name takes a host of theirs, a preview's neither."""
    found: dict[str, Owners] = {}
    for worker, account in sorted(owners.values(), key=lambda one: (one[0].created_on, one[0].id)):
        found.setdefault(account.id, {})[worker.name] = (worker, account)
    return list(found.values())


def _serving_in(
    session: Session, owners: Owners, label: str, readings: list[tuple[str, str]]
) -> tuple[Serving, ...]:
    if label in owners:
        traffic = queries.current_traffic(session, owners[label][0].id)
        if traffic:
            return tuple(_serving(*owners[label], one.version, one.percentage) for one in traffic)
    for alias, worker in readings:
        if worker in owners:
            version = _preview(session, owners[worker][0].id, alias)
            if version is not None:
                return (_serving(*owners[worker], version),)
    return ()


def _may_name_version(alias: str) -> bool:
    return bool(ALIAS.fullmatch(alias) or VERSION_PREFIX.fullmatch(alias))


def _preview(session: Session, worker_id: str, alias: str) -> Version | None:
    if VERSION_PREFIX.fullmatch(alias):
        return queries.version_by_prefix(session, worker_id, alias)
    return queries.version_by_alias(session, worker_id, alias)


def _serving(worker: Worker, account: Account, version: Version, percentage: float = 100) -> Serving:
    return Serving(
        account_id=account.id,
        account=account.name,
        worker_id=worker.id,
        worker=worker.name,
        version_id=version.id,
        digest=version.digest,
        kind=version.kind,
        percentage=percentage,
    )
