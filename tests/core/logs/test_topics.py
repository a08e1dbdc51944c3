"""Following builds: what is kept in memory of each, however many are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge import LogKey
from kedge.builds.build_logs import BuildLogs
from kedge.logs.topics import MOST_TOPICS, Frame, LogState
from kedge.registry import Registry
from kedge.registry.hooks import Hooks
from kedge.registry.loading import Loaded
from kedge.testing.memory import MemoryLogs

if TYPE_CHECKING:
    from kedge.db.engine import Database

STOPPED = LogState(part=1, status="stopped", outcome="success")


@pytest.fixture
def logs(db: Database) -> BuildLogs:
    """The logs of a node that stands alone."""
    return BuildLogs(MemoryLogs(), db, Registry(Loaded(installed={}, hooks=Hooks(), classes={})))


async def follow_to_the_end(logs: BuildLogs, build_uuid: str) -> str:
    key = LogKey(log_id=build_uuid, part=1)
    await logs.append(key, 0, b"hello\n", time_ms=1)
    logs.publish(build_uuid, STOPPED)
    await logs.wait_for_stop(build_uuid)
    return "".join([item.data.decode() async for item in logs.follow(build_uuid) if isinstance(item, Frame)])


async def test_any_number_of_builds_can_be_followed_to_their_end(logs: BuildLogs) -> None:
    read = [await follow_to_the_end(logs, f"build-{number}") for number in range(MOST_TOPICS + 10)]

    assert read == ["hello\n"] * (MOST_TOPICS + 10)
    assert logs.topics.find("build-0") is None


def test_what_is_watched_stays_however_much_else_is_asked_for(logs: BuildLogs) -> None:
    with logs.topics.watching("watched") as topic:
        for number in range(MOST_TOPICS * 2):
            logs.topics.get(f"build-{number}")

        assert logs.topics.find("watched") is topic

    for number in range(MOST_TOPICS):
        logs.topics.get(f"later-{number}")
    assert logs.topics.find("watched") is None


def test_more_builds_than_are_kept_can_be_watched_at_once(logs: BuildLogs) -> None:
    watching = [logs.topics.watching(f"build-{number}") for number in range(MOST_TOPICS + 1)]
    topics = [one.__enter__() for one in watching]

    assert [logs.topics.find(f"build-{number}") for number in range(MOST_TOPICS + 1)] == topics
