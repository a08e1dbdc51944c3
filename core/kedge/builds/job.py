"""What a runner is told of the work it has to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam
from sqlmodel import col, select

from kedge.contracts.forge import Repo
from kedge.db.queries import lifecycle
from kedge.db.tables import Account, RepoConnection, Trigger, TriggerVariable, Worker
from kedge.tokens import derive_token
from kedge.workers.previews import alias_of_branch

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.builds.services import BuildServices
    from kedge.db.tables import Build


NAMES = (
    select(Account.name, Worker.name, RepoConnection)
    .join(Worker, col(Worker.account_id) == Account.id)
    .join(Trigger, col(Trigger.worker_id) == Worker.id)
    .join(RepoConnection, col(RepoConnection.uuid) == Trigger.repo_connection_uuid)
    .where(col(Trigger.uuid) == bindparam("trigger"))
)
VARIABLES = select(TriggerVariable).where(col(TriggerVariable.trigger_uuid) == bindparam("trigger"))
TRIGGER = select(Trigger).where(col(Trigger.uuid) == bindparam("trigger"))


@dataclass(frozen=True, kw_only=True)
class JobRows:
    """Everything the database knows about an attempt's work, read at one moment."""

    build: Build
    account: str
    worker: str
    repo: Repo
    variables: list[TriggerVariable]
    trigger: Trigger

    @property
    def known_variables(self) -> list[TriggerVariable]:
        """The variables that the build may know: code from outside learns no secret."""
        return [row for row in self.variables if self.build.trusted or not row.is_secret]

    @property
    def cache(self) -> dict[str, Any] | None:
        """What the runner is told of caches; `None` where they are off."""
        if not self.trigger.build_caching_enabled:
            return None
        return {"writable": self.build.trusted, "declared": self.trigger.build_caches}


async def make_job(services: BuildServices, build_uuid: str, attempt: int, token: str) -> dict[str, Any]:
    """The job of an attempt, as JSON for its runner. Raises `StaleAttempt`.

    `token` is the one the runner came with: the lesser tokens for clone and deploy follow from it.
    """
    rows = await services.db.read(_read, build_uuid, attempt)
    build = rows.build
    # it clones and it deploys; what it may do is asked of the build each time
    lesser = derive_token(token, "deploy")
    source = await services.forges[rows.repo.forge].clone_source(rows.repo, token=lesser)
    variables = {row.key: services.secrets.decrypt(row.value) for row in rows.known_variables}
    return {
        "build_uuid": build_uuid,
        "attempt": attempt,
        "account": rows.account,
        "worker": rows.worker,
        "worker_tag": build.worker_id,
        "branch": build.branch,
        "commit_hash": build.commit_hash,
        "is_production": build.is_production,
        "trusted": build.trusted,
        "public_url": services.public_url,
        "clone": {
            "url": source.url,
            "username": source.username,
            "password": source.password,
            "local_path": source.local_path,
        },
        "root_directory": build.snapshot["root_directory"],
        "build_command": build.snapshot["build_command"],
        "deploy_command": build.snapshot["deploy_command"],
        "variables": variables,
        "secrets": [variables[row.key] for row in rows.known_variables if row.is_secret],
        "deploy": {"url": services.public_url, "token": lesser, "account": rows.account}
        if build.trusted
        else None,
        "preview_alias": None if build.is_production else alias_of_branch(build.branch, rows.worker),
        "cache": rows.cache,
        "timeout": services.settings.builds.timeout,
        "stop_grace": services.settings.builds.stop_grace,
    }


def _read(session: Session, build_uuid: str, number: int) -> JobRows:
    build, _ = lifecycle.live(session, build_uuid, number)
    values = {"trigger": build.trigger_uuid}
    account, worker, repo = session.execute(NAMES, values).one()
    variables = session.execute(VARIABLES, values).scalars()
    trigger = session.execute(TRIGGER, values).scalar_one()
    return JobRows(
        build=build,
        account=account,
        worker=worker,
        repo=Repo(forge=repo.provider_type, owner=repo.provider_account_id, name=repo.repo_id),
        variables=list(variables),
        trigger=trigger,
    )
