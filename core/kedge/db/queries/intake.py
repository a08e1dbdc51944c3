"""What a push is checked against, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam
from sqlmodel import col, select

from kedge.build_states import Status
from kedge.contracts.forge import Delivery as DeliveryValue
from kedge.contracts.forge import Push, Repo
from kedge.db.tables import Build, BuildToken, Delivery, RepoConnection, Trigger, TriggerVariable
from kedge.errors import Conflict, NotFound

if TYPE_CHECKING:
    from sqlmodel import Session


@dataclass(frozen=True, kw_only=True)
class Target:
    """A trigger with all that a build's frozen metadata needs."""

    trigger: Trigger
    connection: RepoConnection
    build_token_name: str | None
    variables: tuple[tuple[str, bool, int], ...]

    @property
    def repo(self) -> Repo:
        """The repository it builds."""
        return Repo(
            forge=self.connection.provider_type,
            owner=self.connection.provider_account_id,
            name=self.connection.repo_id,
        )

    @property
    def is_production(self) -> bool:
        """A trigger that names its branches builds for production; one with a `*` builds previews."""
        return not any("*" in pattern for pattern in self.trigger.branch_includes)

    def snapshot(self) -> dict[str, Any]:
        """The settings as they are now; of variables the names only."""
        trigger, connection = self.trigger, self.connection
        return {
            "trigger_name": trigger.name,
            "build_command": trigger.build_command,
            "deploy_command": trigger.deploy_command,
            "root_directory": trigger.root_directory,
            "build_token_uuid": trigger.build_token_uuid,
            "build_token_name": self.build_token_name,
            "environment_variables": {
                key: {"is_secret": is_secret, "created_on": created_on}
                for key, is_secret, created_on in self.variables
            },
            "repo_name": connection.repo_name,
            "provider_account_name": connection.provider_account_name,
            "provider_type": connection.provider_type,
        }


_TRIGGERS: Any = (
    select(Trigger, RepoConnection)
    .join(RepoConnection, col(RepoConnection.uuid) == Trigger.repo_connection_uuid)
    .where(col(Trigger.deleted_on).is_(None))
)
_OLDEST_FIRST = (col(Trigger.created_on), col(Trigger.uuid))
TRIGGERS_OF_REPO = (
    _TRIGGERS.where(col(RepoConnection.provider_type) == bindparam("forge"))
    .where(col(RepoConnection.provider_account_id) == bindparam("owner"))
    .where(col(RepoConnection.repo_id) == bindparam("name"), col(RepoConnection.deleted_on).is_(None))
    .order_by(*_OLDEST_FIRST)
)
TRIGGER = _TRIGGERS.where(
    col(Trigger.uuid) == bindparam("trigger"), col(Trigger.account_id) == bindparam("account")
)
TRIGGERS_OF_WORKER = _TRIGGERS.where(col(Trigger.worker_id) == bindparam("worker")).order_by(*_OLDEST_FIRST)
VARIABLES = select(
    col(TriggerVariable.trigger_uuid),
    col(TriggerVariable.key),
    col(TriggerVariable.is_secret),
    col(TriggerVariable.created_on),
).where(col(TriggerVariable.trigger_uuid).in_(bindparam("triggers", expanding=True)))
TOKEN_NAMES = select(col(BuildToken.uuid), col(BuildToken.name)).where(
    col(BuildToken.uuid).in_(bindparam("tokens", expanding=True))
)
WAITING_BUILDS = (
    select(Build)
    .where(col(Build.trigger_uuid) == bindparam("trigger"), col(Build.branch) == bindparam("branch"))
    .where(col(Build.trusted) == bindparam("trusted"))
    .where(col(Build.status) == Status.QUEUED, col(Build.claimed_on).is_(None))
)


def add_delivery(session: Session, delivery: DeliveryValue, now: int) -> bool:
    """Note that a delivery was taken in; True if it was known already."""
    key = {"forge": delivery.forge, "delivery_id": delivery.delivery_id}
    if session.get(Delivery, key) is not None:
        return True
    session.add(Delivery(**key, received_on=now))
    session.flush()
    return False


def builds_of_delivery(session: Session, delivery: DeliveryValue, push: Push) -> list[str]:
    """The builds that one push of a known delivery led to."""
    query = (
        select(Build.build_uuid)
        .where(Build.forge == delivery.forge, Build.delivery_id == delivery.delivery_id)
        .where(Build.branch == push.branch, Build.commit_hash == push.commit_hash)
        .order_by(col(Build.id))
    )
    return list(session.exec(query))


def targets(session: Session, repo: Repo) -> list[Target]:
    """Every trigger that builds a repository, oldest first."""
    values = {"forge": repo.forge, "owner": repo.owner, "name": repo.name}
    rows = session.execute(TRIGGERS_OF_REPO, values).all()
    return _complete(session, [(trigger, connection) for trigger, connection in rows])


def target(session: Session, account_id: str, trigger_uuid: str) -> Target:
    """One trigger of an account. Raises `NotFound`, or `Conflict` if its repository is disconnected."""
    row = session.execute(TRIGGER, {"trigger": trigger_uuid, "account": account_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no trigger {trigger_uuid[:80]!r}: it may have been removed")
    trigger, connection = row
    check_connected(connection)
    return _complete(session, [(trigger, connection)])[0]


def targets_of_worker(session: Session, worker_id: str) -> list[Target]:
    """Every trigger of a worker, oldest first, connected or not."""
    rows = session.execute(TRIGGERS_OF_WORKER, {"worker": worker_id}).all()
    return _complete(session, [(trigger, connection) for trigger, connection in rows])


def check_connected(connection: RepoConnection) -> None:
    """Raise `Conflict` if the repository is disconnected."""
    if connection.deleted_on is not None:
        name = f"{connection.provider_account_name}/{connection.repo_name}"
        raise Conflict(
            f"the repository {name} is disconnected: connect it again (PUT /builds/repos/connections), "
            "or give the trigger another repo_connection_uuid"
        )


def waiting_builds(session: Session, newer: Build) -> list[Build]:
    """Builds that wait for their turn and that `newer` makes needless: same trigger, branch and trust."""
    values = {"trigger": newer.trigger_uuid, "branch": newer.branch, "trusted": newer.trusted}
    return list(session.execute(WAITING_BUILDS, values).scalars())


def _complete(session: Session, rows: list[tuple[Trigger, RepoConnection]]) -> list[Target]:
    uuids = [trigger.uuid for trigger, _ in rows]
    token_uuids = {trigger.build_token_uuid for trigger, _ in rows} - {None}
    variables = session.execute(VARIABLES, {"triggers": uuids}).all()
    names = (
        {row.uuid: row.name for row in session.execute(TOKEN_NAMES, {"tokens": list(token_uuids)})}
        if token_uuids
        else {}
    )
    return [
        Target(
            trigger=trigger,
            connection=connection,
            build_token_name=names.get(trigger.build_token_uuid or ""),
            variables=tuple(
                (key, is_secret, created_on)
                for uuid, key, is_secret, created_on in variables
                if uuid == trigger.uuid
            ),
        )
        for trigger, connection in rows
    ]
