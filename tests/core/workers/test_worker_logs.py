"""A worker's log is kept in parts, of which the newest stay, and is read by one cursor."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kedge.contracts.log_store import LogExtent, LogKey
from kedge.db.queries import workers as worker_queries
from kedge.errors import StoreUnavailable
from kedge.logs import logs as all_logs
from kedge.logs.cursor import Cursor
from kedge.logs.pages import read_page
from kedge.logs.topics import Frame
from kedge.testing.fake_host import FakeHost
from kedge.workers import worker_logs
from kedge.workers.worker_logs import PARTS, TAIL_BYTES, WAITING, Tail, WorkerLogs
from kedge_disk.log_store import DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from kedge.db.engine import Database


PATIENCE = 4.0


class Printed:
    """An instance that prints what a test says."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def output(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@pytest.fixture
async def worker(platform: Any) -> str:
    return str(await platform.add_worker("shop"))


@pytest.fixture
async def make_logs(db: Database, tmp_path: Path) -> AsyncIterator[Callable[[], WorkerLogs]]:
    store = DiskLogs(DiskLogSettings(), FakeHost(tmp_path))
    await store.open()
    made: list[WorkerLogs] = []

    def make() -> WorkerLogs:
        made.append(WorkerLogs(store, db, "node-1", part_bytes=200))
        return made[-1]

    yield make
    for logs in made:
        await logs.close()
    await store.close()


class Seals:
    """Seals of a store, which may fail."""

    def __init__(self, logs: WorkerLogs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail = True
        self.tried = 0
        self.sealed: asyncio.Queue[LogKey] = asyncio.Queue()
        self._seal = logs.store.seal
        monkeypatch.setattr(logs.store, "seal", self)

    async def __call__(self, key: LogKey) -> LogExtent:
        self.tried += 1
        if self.fail:
            raise StoreUnavailable("the disk is full")
        extent = await self._seal(key)
        self.sealed.put_nowait(key)
        return extent


@contextmanager
def sealing(logs: WorkerLogs) -> Iterator[None]:
    """As a node does from its start on."""
    task = asyncio.create_task(logs.seal_the_rest())
    try:
        yield
    finally:
        task.cancel()


async def pump(logs: WorkerLogs, worker: str, *pieces: bytes) -> None:
    printed: Any = Printed(*pieces)
    await logs.pump(worker, printed, Tail())


async def lines(logs: WorkerLogs, worker: str) -> list[str]:
    """All there is, page by page."""
    cursor = Cursor(part=await logs.first_part(logs.log_id(worker)), offset=0)
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
        async for item in logs.follow(logs.log_id(worker), Cursor(part=1, offset=0)):
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


async def print_a_part(logs: WorkerLogs, worker: str, number: int) -> None:
    await pump(logs, worker, b"%d " % number + b"x" * 250 + b"\n")
    await logs.flush(worker)


async def fill_two_parts(logs: WorkerLogs, worker: str) -> tuple[LogKey, LogKey]:
    for number in range(2):
        await print_a_part(logs, worker, number)
    log_id = logs.log_id(worker)
    return LogKey(log_id=log_id, part=1), LogKey(log_id=log_id, part=2)


async def test_a_full_part_that_a_node_could_not_seal_is_sealed_after_its_next_start(
    make_logs: Callable[[], WorkerLogs], worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_logs()
    seals = Seals(before, monkeypatch)
    full, growing = await fill_two_parts(before, worker)
    await before.close()
    assert seals.tried == 1
    seals.fail = False

    after = make_logs()
    with sealing(after):
        async with asyncio.timeout(PATIENCE):
            assert await seals.sealed.get() == full
    assert not (await after.store.extent(growing)).sealed


async def test_a_part_that_cannot_be_sealed_is_tried_again_until_it_is(
    make_logs: Callable[[], WorkerLogs], worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_logs, "RESEAL_SECONDS", 0.001)
    logs = make_logs()
    seals = Seals(logs, monkeypatch)
    full, _ = await fill_two_parts(logs, worker)
    seals.fail = False
    with sealing(logs):
        async with asyncio.timeout(PATIENCE):
            assert await seals.sealed.get() == full


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_old_part_that_cannot_be_removed_costs_no_output_and_goes_later(
    make_logs: Callable[[], WorkerLogs], worker: str, monkeypatch: pytest.MonkeyPatch, *, restarted: bool
) -> None:
    async def refuse(_: LogKey) -> None:
        raise StoreUnavailable("the store is away")

    logs = make_logs()
    first = LogKey(log_id=logs.log_id(worker), part=1)
    with monkeypatch.context() as broken:
        broken.setattr(logs.store, "delete", refuse)
        for number in range(PARTS + 1):
            await print_a_part(logs, worker, number)
    assert [line[0] for line in await lines(logs, worker)] == [str(number) for number in range(1, PARTS + 1)]
    assert (await logs.store.extent(first)).size
    if restarted:
        await logs.close()
        logs = make_logs()

    await print_a_part(logs, worker, PARTS + 1)
    assert not (await logs.store.extent(first)).size
    assert await logs.first_part(first.log_id) == 3


async def test_a_removed_worker_that_still_prints_holds_nobody_up(
    make_logs: Callable[[], WorkerLogs], worker: str, db: Database
) -> None:
    logs = make_logs()
    await pump(logs, worker, b"before\n")
    await logs.flush(worker)
    await logs.drop(worker)
    await db.write(worker_queries.delete_worker, worker)
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            await pump(logs, worker, *[b"after\n"] * 2 * WAITING)
            await logs.flush(worker)


async def test_who_prints_while_a_log_is_dropped_goes_on(
    make_logs: Callable[[], WorkerLogs], worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = make_logs()
    stuck = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> None:
        stuck.set()
        await asyncio.Event().wait()

    append = logs.store.append
    monkeypatch.setattr(logs.store, "append", hang)
    printing = asyncio.create_task(pump(logs, worker, *[b"line\n" * 20_000] * 2 * WAITING))
    async with asyncio.timeout(PATIENCE):
        await stuck.wait()
        monkeypatch.setattr(logs.store, "append", append)
        await logs.drop(worker)
        await printing


async def test_what_is_printed_while_the_database_is_away_is_read_and_lost(
    make_logs: Callable[[], WorkerLogs], worker: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = make_logs()
    reads = db.read

    async def away(*_: Any) -> None:
        monkeypatch.setattr(db, "read", reads)
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(db, "read", away)
    await pump(logs, worker, b"lost\n", b"kept\n")
    await logs.flush(worker)
    assert await lines(logs, worker) == ["kept"]


async def test_a_node_that_ends_does_not_wait_for_ever_for_what_cannot_be_stored(
    make_logs: Callable[[], WorkerLogs], worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(worker_logs, "PATIENCE", 0.01)
    logs = make_logs()
    monkeypatch.setattr(logs.store, "append", hang)
    await pump(logs, worker, b"line\n")
    async with asyncio.timeout(PATIENCE):
        await logs.close()


def test_the_tail_of_an_instance_is_bounded() -> None:
    tail = Tail()
    for _ in range(100):
        tail.add(b"x" * 1000)
    tail.add(b"the end")
    assert str(tail).endswith("xthe end")
    assert len(str(tail)) == TAIL_BYTES
