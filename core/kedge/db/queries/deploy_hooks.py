"""Deploy hooks: addresses that start a build of a worker's branch."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import case, func
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from kedge.build_states import Status
from kedge.db.queries.versions import find_worker
from kedge.db.tables import Build, DeployHook
from kedge.errors import Conflict, NotFound

if TYPE_CHECKING:
    from sqlmodel import Session

MOST_HOOKS = 100


@dataclass(frozen=True, kw_only=True)
class Recent:
    """Builds that deploy hooks have queued lately."""

    of_worker: int
    of_account: int


def hooks_of_worker(session: Session, account_id: str, worker: str) -> list[DeployHook]:
    """The hooks of a worker, oldest first. Raises `NotFound`."""
    worker_id = find_worker(session, account_id, worker).id
    query = select(DeployHook).where(DeployHook.worker_id == worker_id)
    return list(session.exec(query.order_by(col(DeployHook.created_on), col(DeployHook.name))))


def add_hook(session: Session, wanted: DeployHook) -> DeployHook:
    """Store a hook, whose worker may be named by tag or name. Raises `NotFound`, `Conflict`."""
    wanted.worker_id = find_worker(session, wanted.account_id, wanted.worker_id).id
    if len(hooks_of_worker(session, wanted.account_id, wanted.worker_id)) >= MOST_HOOKS:
        raise Conflict(f"a worker may have {MOST_HOOKS} deploy hooks; remove one first")
    session.add(wanted)
    _flush(session, wanted.name)
    return wanted


def hook_of_worker(session: Session, account_id: str, worker: str, uuid_hash: str) -> DeployHook:
    """One hook of a worker. Raises `NotFound`."""
    worker_id = find_worker(session, account_id, worker).id
    found = find_hook(session, uuid_hash)
    if found.worker_id != worker_id:
        raise NotFound("the worker has no such deploy hook")
    return found


def change_hook(
    session: Session, account_id: str, worker: str, uuid_hash: str, *, name: str, branch: str, now: int
) -> DeployHook:
    """Give a hook another name and branch. Raises `NotFound`, `Conflict`."""
    found = hook_of_worker(session, account_id, worker, uuid_hash)
    found.name, found.branch, found.modified_on = name, branch, now
    _flush(session, name)
    return found


def delete_hook(session: Session, account_id: str, worker: str, uuid_hash: str) -> DeployHook:
    """Remove a hook and return what it was. Raises `NotFound`."""
    found = hook_of_worker(session, account_id, worker, uuid_hash)
    session.delete(found)
    return found


def find_hook(session: Session, uuid_hash: str) -> DeployHook:
    """The hook with a UUID of that hash. Raises `NotFound`, with no word of what was asked for."""
    # A hash as the key: how long the index takes tells nothing about the UUIDs that are there.
    found = session.get(DeployHook, uuid_hash)
    if found is None or not hmac.compare_digest(found.uuid_hash, uuid_hash):
        raise NotFound("there is no such deploy hook")
    return found


def recent_builds(session: Session, hook: DeployHook, since: int) -> Recent:
    """How many builds the hooks of the same worker, and of the same account, have queued since then."""
    query = (
        select(func.count(), func.sum(case((col(Build.worker_id) == hook.worker_id, 1), else_=0)))
        .where(Build.account_id == hook.account_id)
        .where(col(Build.deploy_hook).is_not(None), col(Build.created_on) > since)
    )
    of_account, of_worker = session.exec(query).one()
    return Recent(of_worker=of_worker or 0, of_account=of_account)


def pending_builds(session: Session, trigger_uuid: str, branch: str) -> list[Build]:
    """Builds of a trigger and branch that have not begun with the user's commands, oldest first."""
    query = (
        select(Build)
        .where(Build.trigger_uuid == trigger_uuid, Build.branch == branch)
        .where(col(Build.status).in_((Status.QUEUED, Status.INITIALIZING)), ~col(Build.cancel_requested))
        .order_by(col(Build.id))
    )
    return list(session.exec(query))


def _flush(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"the worker has a deploy hook {name!r} already; choose another name") from error
