"""A worker's log is kept in parts, of which the newest stay, and is read by one cursor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kedge.builds.log_pages import read_page
from kedge.builds.logs import Cursor
from kedge.builds.topics import Frame
from kedge.testing.fake_host import FakeHost
from kedge.workers.worker_logs import PARTS, TAIL_BYTES, Tail, WorkerLogs
from kedge_disk.log_store import DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kedge.db.engine import Database


class Printed:
    """An instance that prints what a test says."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def output(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class Deaf:
    """No plugin listens."""

    def listens(self, hook: str) -> bool:
        raise AssertionError("lines of workers are not told by the hook for builds")


@pytest.fixture
async def worker(platform: Any) -> str:
    return str(await platform.add_worker("shop"))


@pytest.fixture
async def make_logs(db: Database, tmp_path: Path) -> AsyncIterator[Callable[[], WorkerLogs]]:
    store = DiskLogs(DiskLogSettings(), FakeHost(tmp_path))
    await store.open()
    made: list[WorkerLogs] = []
    deaf: Any = Deaf()

    def make() -> WorkerLogs:
        made.append(WorkerLogs(store, db, deaf, "node-1", part_bytes=200))
        return made[-1]

    yield make
    for logs in made:
        await logs.close()
    await store.close()


async def pump(logs: WorkerLogs, worker: str, *pieces: bytes) -> None:
    printed: Any = Printed(*pieces)
    await logs.pump(worker, printed, Tail())


async def lines(logs: WorkerLogs, worker: str) -> list[str]:
    """All there is, page by page."""
    cursor = Cursor(attempt=await logs.first_part(logs.log_id(worker)), offset=0)
    found: list[str] = []
    while True:
        page = await read_page(logs, logs.log_id(worker), cursor)
        found += [text for _, text in page.lines]
        if not page.truncated:
            return found
        cursor = Cursor.parse(page.cursor)


async def test_lines_of_several_instances_stay_whole(
    make_logs: Callable[[], WorkerLogs], worker: str
) -> None:
    logs = make_logs()
    await asyncio.gather(
        pump(logs, worker, b"a first ", b"line\na ", b"second\n"),
        pump(logs, worker, b"b fir", b"st line\nb second", b"\nand no end"),
    )
    await logs.close()
    assert sorted(await lines(logs, worker)) == [
        "a first line",
        "a second",
        "and no end",
        "b first line",
        "b second",
    ]


async def test_only_the_newest_parts_are_kept(make_logs: Callable[[], WorkerLogs], worker: str) -> None:
    logs = make_logs()
    for number in range(3 * PARTS):
        await pump(logs, worker, b"%03d " % number + b"x" * 250 + b"\n")
        await logs.flush(worker)
    kept = [int(text[:3]) for text in await lines(logs, worker)]
    assert kept == list(range(3 * PARTS - len(kept), 3 * PARTS))
    assert len(kept) == PARTS


async def test_a_restarted_node_goes_on_where_it_was(
    make_logs: Callable[[], WorkerLogs], worker: str
) -> None:
    before = make_logs()
    for number in range(3):
        await pump(before, worker, b"%d " % number + b"x" * 250 + b"\n")
        await before.flush(worker)
    await before.close()
    after = make_logs()
    await pump(after, worker, b"3 goes on\n")
    await after.flush(worker)
    assert [text[0] for text in await lines(after, worker)] == ["0", "1", "2", "3"]


async def test_a_follower_sees_lines_across_parts(make_logs: Callable[[], WorkerLogs], worker: str) -> None:
    logs = make_logs()
    seen: list[bytes] = []

    async def follow() -> None:
        async for item in logs.follow(logs.log_id(worker), Cursor(attempt=1, offset=0)):
            if isinstance(item, Frame):
                seen.append(item.data)
            if b"last\n" in b"".join(seen):
                return

    following = asyncio.create_task(follow())
    for number in range(4):
        await pump(logs, worker, b"%d " % number + b"x" * 250 + b"\n")
        await logs.flush(worker)
    await pump(logs, worker, b"last\n")
    await asyncio.wait_for(following, 60)
    assert [line[:1] for line in b"".join(seen).splitlines()] == [b"0", b"1", b"2", b"3", b"l"]


async def test_a_removed_workers_log_is_gone(make_logs: Callable[[], WorkerLogs], worker: str) -> None:
    logs = make_logs()
    await pump(logs, worker, b"something\n")
    await logs.flush(worker)
    await logs.delete_of(worker)
    assert await lines(logs, worker) == []


def test_the_tail_of_an_instance_is_bounded() -> None:
    tail = Tail()
    for _ in range(100):
        tail.add(b"x" * 1000)
    tail.add(b"the end")
    assert str(tail).endswith("xthe end")
    assert len(str(tail)) == TAIL_BYTES
