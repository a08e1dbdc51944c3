"""What a forge is told of a build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlmodel import col, select

from kedge.contracts.forge import Repo
from kedge.db.queries.builds import NEWEST_VERSION
from kedge.db.queries.deployments import whereabouts
from kedge.db.tables import Account, Build, RepoConnection, Trigger, Worker
from kedge.errors import NotFound

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.db.queries.deployments import Whereabouts


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A build with the names that its report needs."""

    build: Build
    account: str
    worker: str
    repo: Repo
    #: of the version that it uploaded last
    whereabouts: Whereabouts | None


def reported(session: Session, build_uuid: str) -> Reported:
    """A build as its forge knows it. Raises `NotFound`."""
    row = session.exec(
        select(Build, Account.name, Worker.name, RepoConnection)
        .join(Account, col(Account.id) == Build.account_id)
        .join(Worker, col(Worker.id) == Build.worker_id)
        .join(Trigger, col(Trigger.uuid) == Build.trigger_uuid)
        .join(RepoConnection, col(RepoConnection.uuid) == Trigger.repo_connection_uuid)
        .where(Build.build_uuid == build_uuid)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no build {build_uuid}")
    build, account, worker, connection = row
    version = session.execute(NEWEST_VERSION, {"build": build_uuid}).scalar_one_or_none()
    return Reported(
        build=build,
        account=account,
        worker=worker,
        repo=Repo(
            forge=connection.provider_type, owner=connection.provider_account_id, name=connection.repo_id
        ),
        whereabouts=None if version is None else whereabouts(session, version),
    )
