"""Instances that answer before a deployment serves, wherever it is about to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from kedge.db.queries import deployments as queries
from kedge.errors import InstanceFailed, KedgeError
from kedge.workers.manifest import STATIC

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.db.engine import Database
    from kedge.workers.instances import Instances
    from kedge.workers.places.exchange import Exchange

#: how nodes ask each other
WARM = b"/api/peers/warm"
#: what is up once is looked at again, because requests have gone on meanwhile; not for ever
MOST_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Change:
    """The versions that run, of a deployment and of what serves until it does."""

    #: version's id → its share of the traffic in percent
    wanted: dict[str, float]
    before: set[str]
    #: whether files serve until then: any node does that without an instance
    from_files: bool


class WarmUp:
    """Has every node that answers requests for a worker be ready to answer them by the new versions."""

    def __init__(
        self, db: Database, instances: Instances, exchange: Exchange | None = None, *, node: str = ""
    ) -> None:
        """`exchange` asks the other nodes of the database, if there may be some; `node` is this one."""
        self._db = db
        self._node = node
        self._instances = instances
        self._exchange = exchange

    async def everywhere(self, change: Change, uuid: str) -> None:
        """Return once a deployment's versions answer here, and on each node where what serves now runs.

        Raises `InstanceFailed` if that cannot be, and `Overloaded` if this node stops. A node that does not
        answer is left out.
        """
        for turn in range(MOST_ROUNDS):
            again = turn > 0
            here, elsewhere = await asyncio.gather(
                self._at_home(change, again=again), self._elsewhere(uuid, again=again)
            )
            if not (here or elsewhere):
                return

    async def asked(self, uuid: str, *, again: bool) -> dict[str, Any]:
        """Another node is about to let a deployment serve: whether instances had to be started, or failed."""
        change = await self._db.read(change_of, uuid)
        try:
            started = await self._here(change, at_least=1 if change.from_files else 0, again=again)
        except KedgeError as error:
            return {"started": True, "failure": told(error)}
        return {"started": started, "failure": None}

    async def _here(self, change: Change, *, at_least: int, again: bool) -> bool:
        """As many instances as serve now, by each version's share. Whether any had to be started.

        `again`: what was started for it would count as serving; see only that each version has one.
        """
        many = max(_needed([self._instances.ready(version_id) for version_id in change.before]), at_least)
        if not many:
            return False
        if again:
            many = 1
        started = await asyncio.gather(
            *[
                self._instances.warm(version_id, max(ceil(many * share / 100), 1))
                for version_id, share in change.wanted.items()
            ]
        )
        return any(started)

    async def _at_home(self, change: Change, *, again: bool) -> bool:
        try:
            return await self._here(change, at_least=1, again=again)
        except InstanceFailed as error:
            raise error if self._exchange is None else _at(self._node, told(error)) from None

    async def _elsewhere(self, uuid: str, *, again: bool) -> bool:
        if self._exchange is None:
            return False
        question = {"deployment": uuid, "again": again}
        answers = await self._exchange.ask_patiently(WARM, question)
        for name, answer in answers.items():
            if answer["failure"] is not None:
                raise _at(name, answer["failure"])
        return any(answer["started"] for answer in answers.values())


def _needed(ready: list[int]) -> int:
    """How many instances carry what those of several versions carry.

    Each version has one however little comes to it.
    """
    return sum(max(count - 1, 0) for count in ready) + (1 if any(ready) else 0)


def _at(node: str, failure: dict[str, Any]) -> InstanceFailed:
    return InstanceFailed(
        f"at node {node} {failure['reason']}", probes=failure["probes"], tail=failure["tail"]
    )


def change_of(session: Session, uuid: str) -> Change:
    """What becomes different when a deployment serves."""
    deployment = queries.by_uuid(session, uuid)
    if deployment is None:
        return Change(wanted={}, before=set(), from_files=False)
    current = queries.serving(session, deployment.worker_id)
    before = [] if current is None else queries.versions_of(session, current)
    return Change(
        wanted={
            one.version.id: one.percentage
            for one in queries.versions_of(session, deployment)
            if one.version.kind != STATIC
        },
        before={one.version.id for one in before if one.version.kind != STATIC},
        from_files=any(one.version.kind == STATIC for one in before),
    )


def told(error: KedgeError) -> dict[str, Any]:
    """What is kept and passed on of a start that failed."""
    if isinstance(error, InstanceFailed):
        return {"reason": error.reason, "probes": list(error.probes), "tail": error.tail}
    return {"reason": str(error), "probes": [], "tail": ""}
