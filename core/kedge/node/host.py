"""The node as plugins see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from kedge.api.build_view import wait_reason
from kedge.build_states import Outcome, Status
from kedge.config import resolve_secret
from kedge.config.workers import WORKER_NAME
from kedge.db.hot_logs import DatabaseHotLogs
from kedge.db.queries import deployments, lifecycle, queue
from kedge.db.tables import Build, RepoConnection, Trigger, Version
from kedge.errors import NotFound
from kedge.logs.topics import Frame, LogState
from kedge.workers.urls import WorkerUrls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from sqlmodel import Session

    from kedge.api.access import Access
    from kedge.builds.build_logs import BuildLogs
    from kedge.builds.intake import Intake
    from kedge.config import Settings
    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.forge import Delivery, Repo
    from kedge.contracts.host import Principal
    from kedge.db.engine import Database


class NodeHost:
    """Implements `kedge.Host`. The node fills in what does not exist yet when plugins are made."""

    access: Access
    blobs: BlobStore
    intake: Intake
    logs: BuildLogs

    def __init__(self, settings: Settings, db: Database) -> None:
        """Only names and folders are known yet."""
        self._settings = settings
        self._db = db
        self.public_url = settings.server.public_url or ""
        self.endpoint = ""
        self.hot_logs = DatabaseHotLogs(db, settings.node.name) if db.shared else None

    @property
    def node(self) -> str:
        """This node's name."""
        return self._settings.node.name

    @property
    def location(self) -> str:
        """The location this node is in."""
        return self._settings.node.location

    @property
    def data_dir(self) -> Path:
        """The folder of this node."""
        return self._settings.server.data_dir

    def secret(self, ref: str) -> str:
        """What `env:NAME` or `file:PATH` in the settings stands for."""
        return resolve_secret(ref, self._settings.base_dir)

    async def authenticate(self, token: str) -> Principal:
        """Who `token` speaks for. Raises `Unauthorized`."""
        return await self.access.authenticate(token)

    async def authorize_repo(self, principal: Principal, repo: Repo, *, write: bool) -> None:
        """Raise `NotFound` unless `principal` may read (or write) `repo`."""
        allowed = principal.can_write or not write
        if not allowed or not await self._db.read(_may_use, principal, repo, write=write):
            raise NotFound(f"there is no repository {repo.owner}/{repo.name}{_how_to_make(principal, repo)}")

    async def receive(self, delivery: Delivery) -> Sequence[str]:
        """Store a delivery, queue its builds and return their uuids."""
        return await self.intake.receive(delivery)

    async def follow(self, build_uuid: str) -> AsyncIterator[bytes]:
        """Yield a build's log as it grows, then a last line that tells how it ended.

        While it waits for long, say why, and again whenever there is another reason.
        """
        status, told = "", None
        async for item in self.logs.follow(build_uuid):
            if isinstance(item, Frame):
                yield item.data
            elif isinstance(item, LogState):
                status = item.status
            elif status == Status.QUEUED:
                reason = await self._db.read(_why_it_waits, build_uuid)
                if reason not in {None, told}:
                    told = reason
                    yield f"It waits: {reason}\n".encode()
        line = await self._db.read(_last_line, build_uuid, self._settings, self.public_url)
        yield line.encode()


def _how_to_make(principal: Principal, repo: Repo) -> str:
    """For who may make it; to others a repository of somebody else's looks like one that is not there."""
    may_make = principal.can_write and principal.build_uuid is None
    if not may_make or repo.owner != principal.account_name or not WORKER_NAME.fullmatch(repo.name):
        return ""
    return f": `kedge worker create {repo.name}` makes it, with a worker that is built from it"


def _may_use(session: Session, principal: Principal, repo: Repo, *, write: bool) -> bool:
    query = (
        select(RepoConnection.uuid)
        .where(RepoConnection.account_id == principal.account_id)
        .where(RepoConnection.provider_type == repo.forge)
        .where(RepoConnection.provider_account_id == repo.owner, RepoConnection.repo_id == repo.name)
        .where(col(RepoConnection.deleted_on).is_(None))
    )
    if principal.build_uuid is not None:
        query = (
            query.join(Trigger, col(Trigger.repo_connection_uuid) == RepoConnection.uuid)
            .join(Build, col(Build.trigger_uuid) == Trigger.uuid)
            .where(Build.build_uuid == principal.build_uuid)
        )
    return not (write and principal.build_uuid) and session.exec(query).first() is not None


def _why_it_waits(session: Session, build_uuid: str) -> str | None:
    build, _ = lifecycle.current(session, build_uuid)
    if build.status != Status.QUEUED:
        return None
    if build.claimed_on is not None:
        return "its runner is being started"
    return wait_reason(build.wait_reason, queue.before(session, build).count)


def _last_line(session: Session, build_uuid: str, settings: Settings, public_url: str) -> str:
    build, _ = lifecycle.current(session, build_uuid)
    if build.outcome != Outcome.SUCCESS:
        # of any other the log itself tells why
        why = f". {build.failure_message}" if build.outcome == Outcome.SKIPPED else ""
        return f"\nBuild {build_uuid} ended: {build.outcome}{why}\n"
    newest = select(Version).where(Version.build_uuid == build_uuid).order_by(col(Version.number).desc())
    version = session.exec(newest).first()
    if version is None:
        return f"\nBuild {build_uuid} succeeded; it deployed nothing.\n"
    urls = WorkerUrls(public_url=public_url, domain=settings.server.domain)
    return f"\n{urls.best(deployments.whereabouts(session, version))}\n"
