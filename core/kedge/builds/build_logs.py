"""The logs of builds: each attempt writes the next part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from kedge.contracts.attempt_name import AttemptName
from kedge.db.queries import lifecycle
from kedge.db.tables import Attempt
from kedge.logs.logs import Logs, waited_in_vain
from kedge.logs.topics import LogState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from kedge.contracts.log_store import LogChunk, LogKey, LogStore
    from kedge.db.engine import Database
    from kedge.registry import Registry


class BuildLogs(Logs):
    """A log is named by its build's id, and its parts by the numbers of attempts."""

    def __init__(
        self,
        store: LogStore,
        db: Database,
        registry: Registry,
        tell_nodes: Callable[[str, str], None] | None = None,
    ) -> None:
        """As `Logs`; listeners of the `registry` are told of each chunk."""
        super().__init__(store, db, tell_nodes)
        self._registry = registry

    async def wait_for_stop(self, build_uuid: str) -> None:
        """Return once the build has stopped. Raises `NotFound`."""
        with self.topics.watching(build_uuid) as topic:
            while True:
                changed = topic.changed()
                if (await self.state(build_uuid)).stopped:
                    return
                if await waited_in_vain(changed):
                    topic.state = None

    async def _look_up(self, log_id: str) -> LogState:
        return await self._db.read(_state, log_id)

    def _is_over(self, session: Session, key: LogKey) -> bool:
        ended = select(Attempt.ended_on).where(
            Attempt.build_uuid == key.log_id,
            Attempt.number == key.part,
            col(Attempt.ended_on).is_not(None),
        )
        return session.exec(ended).first() is not None

    async def _tell_listeners(self, key: LogKey, chunk: LogChunk) -> None:
        if self._registry.listens("kedge_build_log"):
            attempt = AttemptName(build_uuid=key.log_id, number=key.part)
            await self._registry.build_log(attempt, chunk)


def _state(session: Session, build_uuid: str) -> LogState:
    build, _ = lifecycle.current(session, build_uuid)
    return LogState(part=build.attempt, status=build.status, outcome=build.outcome)
