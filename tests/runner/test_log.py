"""The log's own part: order, numbers, what is lost on the way, and how much may wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.runner.conftest import TOKEN

from kedge_runner import sender as sending
from kedge_runner.bell import Bell
from kedge_runner.client import Client
from kedge_runner.errors import Cancelled, Stale
from kedge_runner.log import Log
from kedge_runner.sender import CHUNK_BYTES, KEPT_BYTES, PATIENCE, Sender
from kedge_runner.spool import Spool
from kedge_runner.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runner.conftest import Call, FakeKedge


@pytest.fixture
def client(kedge: FakeKedge) -> Iterator[Client]:
    client = Client(f"http://127.0.0.1:{kedge.port}", TOKEN, f"/api/builds/{kedge.build_uuid}")
    yield client
    client.close()


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def log(client: Client, bell: Bell, tmp_path: Path) -> Log:
    return Log(client, str(tmp_path / "log.spool"), bell)


def is_log(call: Call) -> bool:
    return "/logs/" in call.path


def wait_for(kedge: FakeKedge, text: str) -> None:
    kedge.until(lambda: text in kedge.log)


def test_chunks_come_in_order_each_once(log: Log, kedge: FakeKedge) -> None:
    lines = [b"line %d\n" % number for number in range(2000)]
    for line in lines:
        log.write(line)

    assert log.close() == len(kedge.chunks)
    assert b"".join(kedge.chunks) == b"".join(lines)
    numbers = [int(call.path.rpartition("/")[2].partition("?")[0]) for call in kedge.calls if is_log(call)]
    assert numbers == list(range(len(kedge.chunks)))
    assert kedge.times == sorted(kedge.times)


def test_an_empty_log_has_no_chunks(log: Log, kedge: FakeKedge) -> None:
    assert log.close() == 0
    assert kedge.chunks == []


def test_the_runners_own_lines_begin_at_the_start_of_a_line(log: Log, kedge: FakeKedge) -> None:
    log.write(b"no end of line")
    log.say("one")
    log.say("two \udcff")
    log.close()

    assert kedge.log == "no end of line\none\ntwo \\udcff\n"


@pytest.mark.parametrize("fault", ["drop", "lose", 429, 503])
def test_an_answer_that_never_came_doubles_and_loses_nothing(
    log: Log, kedge: FakeKedge, fault: str | int
) -> None:
    faults = [fault] * 4
    kedge.fault = lambda call: faults.pop() if is_log(call) and faults else None

    for number in range(3):
        log.write(b"line %d\n" % number)
        wait_for(kedge, f"line {number}\n")

    assert log.close() == len(kedge.chunks)
    assert kedge.log == "line 0\nline 1\nline 2\n"
    assert not faults


def test_what_is_printed_while_kedge_is_away_comes_when_it_is_back(log: Log, kedge: FakeKedge) -> None:
    log.write(b"before\n")
    kedge.until(lambda: kedge.log == "before\n")
    kedge.stop()
    log.write(b"meanwhile\n")
    kedge.start()
    kedge.until(lambda: kedge.log == "before\nmeanwhile\n")

    assert log.close() == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_wakes_the_build_and_ends_it(log: Log, kedge: FakeKedge, bell: Bell, status: int) -> None:
    kedge.fault = lambda call: status
    log.write(b"x\n")

    assert bell.wait(60)
    with pytest.raises(Stale):
        Watch(bell, log.sender, timeout=60, grace=1).check()
    with pytest.raises(Stale):
        log.close()


def test_a_stale_attempt_ends_as_well(log: Log, kedge: FakeKedge, bell: Bell) -> None:
    kedge.stale = True
    log.write(b"x\n")

    assert bell.wait(60)
    assert log.sender.broken is not None
    assert log.sender.broken.code == 12062
    with pytest.raises(Stale):
        log.close()


def test_any_answer_may_cancel(log: Log, kedge: FakeKedge, bell: Bell) -> None:
    kedge.cancel = True
    log.write(b"x\n")

    assert bell.wait(60)
    with pytest.raises(Cancelled):
        Watch(bell, log.sender, timeout=60, grace=1).check()
    log.write(b"last words\n")
    log.close()
    assert kedge.log == "x\nlast words\n"


def test_a_silent_log_asks_whether_to_go_on(
    client: Client, bell: Bell, kedge: FakeKedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "HEARTBEAT_SECONDS", 0.05)
    log = Log(client, str(tmp_path / "quick.spool"), bell)
    kedge.until(lambda: sum(call.path.endswith("/heartbeat") for call in kedge.calls) >= 3)
    with kedge.changed:
        kedge.cancel = True

    assert bell.wait(60)
    assert log.sender.cancel_requested
    assert log.close() == 0


def test_the_beginning_of_a_secret_is_not_sent_however_long_nothing_follows(
    log: Log, kedge: FakeKedge
) -> None:
    log.mask(["hunter2-secret"])
    log.write(b"password: hunter2-")
    kedge.until(lambda: kedge.log == "password: ")
    log.write(b"secret\n")
    log.close()

    assert kedge.log == "password: ***\n"


def test_a_character_waits_for_its_end(log: Log, kedge: FakeKedge) -> None:
    for byte in "naïve €uro 😀\n".encode() * 20:
        log.write(bytes([byte]))
    log.close()

    assert "".join(chunk.decode() for chunk in kedge.chunks) == "naïve €uro 😀\n" * 20


def test_a_full_log_stops_the_reading_and_rings_when_it_may_go_on(
    client: Client, bell: Bell, kedge: FakeKedge, tmp_path: Path
) -> None:
    spool = Spool(str(tmp_path / "small.spool"), memory=10_000, disk=30_000)
    sender, written = Sender(client, spool, bell), b""
    kedge.stop()

    def fill() -> None:
        nonlocal written
        while spool.has_room:
            if sender.has_room():
                written += b"x" * 999 + b"\n"
                sender.add(written[-1000:])
            else:
                bell.wait(PATIENCE)

    fill()
    # what is in flight has left the spool
    fill()
    assert not sender.has_room()
    assert len(written) <= 2 * 40_000 + CHUNK_BYTES
    bell.clear()
    kedge.start()

    assert bell.wait(60)
    assert sender.has_room()
    sender.finish()
    assert b"".join(kedge.chunks) == written


def test_a_line_after_many_full_chunks_comes_as_soon_as_any(log: Log, kedge: FakeKedge) -> None:
    block = b"x" * 1023 + b"\n"
    for _ in range(100):
        kedge.until(log.sender.has_room)
        log.write(block * 1024)
    kedge.until(lambda: len(kedge.chunks) >= 100)

    log.write(b"the last line\n")

    kedge.until(lambda: any(b"the last line" in chunk for chunk in kedge.chunks[-1:]))
    log.close()


def test_chunks_end_with_lines_where_there_are_any(
    log: Log, kedge: FakeKedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "UNFINISHED", 60.0)
    monkeypatch.setattr(sending, "TIME_GRAIN_MS", 600_000)
    text = b"".join(b"%d\n" % number for number in range(600_000))
    log.write(b"first\n")
    kedge.until(lambda: kedge.chunks)

    for start in range(0, len(text), 5000):
        kedge.until(log.sender.has_room)
        log.write(text[start : start + 5000])
    log.close()

    assert b"".join(kedge.chunks) == b"first\n" + text
    assert all(chunk.endswith(b"\n") for chunk in kedge.chunks)


def test_chunks_that_kedge_forgot_come_again(log: Log, kedge: FakeKedge) -> None:
    for number in range(3):
        log.write(b"line %d\n" % number)
        wait_for(kedge, f"line {number}\n")
    with kedge.changed:
        del kedge.chunks[1:]
    log.write(b"line 3\n")

    assert log.close() == 4
    assert kedge.log == "line 0\nline 1\nline 2\nline 3\n"


def test_chunks_too_old_to_be_kept_end_the_attempt(log: Log, kedge: FakeKedge) -> None:
    log.write((b"x" * 1023 + b"\n") * (2 * KEPT_BYTES // 1024))
    kedge.until(lambda: kedge.log_bytes == 2 * KEPT_BYTES)
    with kedge.changed:
        kedge.chunks.clear()
    log.write(b"more\n")

    with pytest.raises(Stale):
        log.close()
