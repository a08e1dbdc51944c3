"""Tells forges how builds stand: beside the builds, never in their way."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from kedge.build_states import Outcome, Status
from kedge.contracts.forge import BuildReport
from kedge.db.queries import reports as queries
from kedge.errors import KedgeError, NotFound, RateLimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.builds.background import Background
    from kedge.contracts.forge import Forge
    from kedge.db.engine import Database
    from kedge.db.queries.reports import Reported
    from kedge.workers.urls import WorkerUrls

log = structlog.get_logger("reports")

#: seconds between the tries at one report; one more try than there are pauses
PAUSES = (1.0, 5.0, 25.0, 60.0)
#: seconds that a forge gets for one try
PATIENCE = 30.0
#: tries under way at a time, of all builds of the node
AT_A_TIME = 8
SUMMARIES = {
    Status.QUEUED: "Waits for its turn.",
    Status.RUNNING: "Is running.",
    Outcome.SUCCESS: "Succeeded.",
    Outcome.FAIL: "Failed.",
    Outcome.SKIPPED: "Was skipped.",
    Outcome.CANCELLED: "Was cancelled.",
    Outcome.TERMINATED: "Was ended by Kedge.",
}


@dataclass(frozen=True)
class News:
    """How a build stood at one moment."""

    status: str
    outcome: str | None


class Reports:
    """Keeps the order of each build's reports and tries each a few times; a failing one gives way to a later.

    What is not delivered when the node ends is lost; the next change of a build is reported again.
    """

    def __init__(
        self, db: Database, forges: Mapping[str, Forge], background: Background, urls: WorkerUrls
    ) -> None:
        """Nothing is asked of the database unless a forge takes reports."""
        self._db = db
        self._forges = {name: forge for name, forge in forges.items() if forge.takes_reports}
        self._background = background
        self._urls = urls
        self._lines: dict[str, deque[News]] = {}
        self._slots = asyncio.Semaphore(AT_A_TIME)

    def tell(self, build_uuid: str, status: str, outcome: str | None = None) -> None:
        """Have the build's forge told soon; returns at once."""
        if not self._forges:
            return
        line = self._lines.get(build_uuid)
        if line is None:
            line = self._lines[build_uuid] = deque()
            self._background.start(self._deliver(build_uuid, line))
        line.append(News(status, outcome))

    async def _deliver(self, build_uuid: str, line: deque[News]) -> None:
        try:
            while line:
                await self._send(build_uuid, line)
                line.popleft()
        finally:
            del self._lines[build_uuid]

    async def _send(self, build_uuid: str, line: deque[News]) -> None:
        try:
            reported = await self._db.read(queries.reported, build_uuid)
        except NotFound:
            return
        forge = self._forges.get(reported.repo.forge)
        if forge is None:
            return
        report = self._report(reported, line[0])
        for pause in (*PAUSES, None):
            try:
                async with self._slots, asyncio.timeout(PATIENCE):
                    await forge.report_status(report)
            except Exception as error:  # noqa: BLE001  (a forge is a plugin: it may raise anything)
                if pause is None or _is_final(error):
                    log.warning(
                        "a forge was not told", build=build_uuid, status=report.status, error=str(error)
                    )
                    return
                await asyncio.sleep(pause)
            else:
                return
            if len(line) > 1:
                return

    def _report(self, reported: Reported, news: News) -> BuildReport:
        build = reported.build
        stopped = news.status == Status.STOPPED
        at = reported.whereabouts if stopped else None
        message = build.failure_message if stopped else None
        return BuildReport(
            repo=reported.repo,
            build_uuid=build.build_uuid,
            worker=reported.worker,
            commit_hash=build.commit_hash,
            branch=build.branch,
            status=news.status,
            outcome=news.outcome,
            summary=message or SUMMARIES[Outcome(news.outcome) if news.outcome else Status(news.status)],
            details_url=(
                f"{self._urls.public_url}/client/v4/accounts/{reported.account}"
                f"/builds/builds/{build.build_uuid}/logs?format=text"
            ),
            preview_url=None if at is None else self._urls.best(at),
        )


def _is_final(error: Exception) -> bool:
    """Whether trying again would give the same answer."""
    return isinstance(error, KedgeError) and error.status < 500 and not isinstance(error, RateLimited)
