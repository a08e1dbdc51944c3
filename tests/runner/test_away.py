"""Kedge goes away, comes back, loses answers, or has had enough."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner.conftest import Call, FakeKedge, Runners

COUNT = "for i in $(seq 1 {n}); do echo line $i; sleep 0.01; done"


def lines(kedge: FakeKedge) -> list[str]:
    return [line for line in kedge.log.splitlines() if line.startswith("line ")]


def expected(count: int) -> list[str]:
    return [f"line {number}" for number in range(1, count + 1)]


def test_no_line_is_lost_or_doubled_while_kedge_is_away(runners: Runners, kedge: FakeKedge) -> None:
    kedge.job["build_command"] = COUNT.format(n=100)
    runner = runners.start()
    kedge.until(lambda: "line 10\n" in kedge.log)
    kedge.stop()
    time.sleep(0.5)  # it is the time away that is tried
    kedge.start()

    assert runner.wait(60) == 0
    assert lines(kedge) == expected(100)
    assert kedge.verdict["outcome"] == "success"


@pytest.mark.parametrize("fault", ["drop", "lose", 503, 500, 429])
def test_a_failing_kedge_is_asked_again(runners: Runners, kedge: FakeKedge, fault: str | int) -> None:
    calls = iter(range(10_000))
    kedge.fault = lambda call: fault if "stopped" not in str(call.body) and next(calls) % 2 else None

    verdict = runners.run(build_command=COUNT.format(n=20))

    assert verdict["outcome"] == "success"
    assert lines(kedge) == expected(20)
    assert kedge.log.count("Initializing build environment") == 1


def test_chunks_that_kedge_has_lost_are_sent_again(runners: Runners, kedge: FakeKedge) -> None:
    lost: list[bytes] = []

    def lose_two(call: Call) -> None:
        if not lost and len(kedge.chunks) == 5:
            lost.extend(kedge.chunks[3:])
            del kedge.chunks[3:]

    kedge.fault = lose_two
    runners.run(build_command=COUNT.format(n=100))

    assert lost
    assert lines(kedge) == expected(100)


def test_chunks_lost_at_the_very_end_are_sent_again(runners: Runners, kedge: FakeKedge) -> None:
    def lose_one(call: Call) -> None:
        if call.path.endswith("/status") and b"stopped" in call.body and not calls:
            calls.append(call)
            kedge.chunks.pop()

    calls: list[Call] = []
    kedge.fault = lose_one

    verdict = runners.run(build_command="echo x")

    assert kedge.log.endswith("Success: Build command completed\n")
    assert verdict["chunks"] == len(kedge.chunks)


def test_a_gap_that_cannot_be_filled_ends_the_attempt(runners: Runners, kedge: FakeKedge) -> None:
    kedge.job["build_command"] = "head -c 8000000 /dev/zero | tr '\\0' '\\n'; echo x; sleep 300"

    def lose_all(call: Call) -> None:
        if kedge.log_bytes > 7_000_000:
            kedge.chunks.clear()

    kedge.fault = lose_all

    assert runners.start().wait(60) == 3


@pytest.mark.parametrize("answer", ["stale", 401, 403, 404])
def test_an_attempt_that_is_over_for_kedge_ends_its_commands_at_once(
    runners: Runners, kedge: FakeKedge, tmp_path: Path, answer: str | int
) -> None:
    pid = tmp_path / "pid"
    kedge.job["build_command"] = f"trap '' TERM; echo $$ > {pid}; while :; do echo x; sleep 0.05; done"
    runner = runners.start()
    kedge.until(lambda: "x\n" in kedge.log)

    if isinstance(answer, int):
        kedge.fault = lambda call: answer
    kedge.stale = True

    assert runner.wait(60) == 3
    assert not (tmp_path / f"/proc/{pid.read_text().strip()}").exists()
    assert all(status["status"] != "stopped" for status in kedge.statuses)


def test_a_stale_token_from_the_start_runs_nothing(runners: Runners, kedge: FakeKedge) -> None:
    kedge.stale = True

    assert runners.start().wait(60) == 3


def test_a_silent_build_shows_that_it_lives(runners: Runners, kedge: FakeKedge) -> None:
    kedge.job["build_command"] = "echo begun; sleep 300"
    runners.tuning = "from kedge_runner import sender; sender.HEARTBEAT_SECONDS = 0.5;"
    runner = runners.start()

    kedge.until(lambda: any(call.path.endswith("/heartbeat") for call in kedge.calls))

    runner.send_signal(signal.SIGTERM)
    assert runner.wait(60) == 0


def test_a_build_that_prints_much_while_kedge_is_away_waits_and_loses_nothing(
    runners: Runners, kedge: FakeKedge, tmp_path: Path
) -> None:
    text = "".join(f"{number:0999}\n" for number in range(75_000))
    (tmp_path / "text").write_text(text)
    kedge.job |= {"build_command": f"cat {tmp_path / 'text'}; echo all", "timeout": 120.0}
    runner = runners.start()
    kedge.until(lambda: kedge.statuses)
    kedge.stop()
    spool = runners.workspace / "log.spool"
    deadline = time.monotonic() + 60
    while not spool.exists() or spool.stat().st_size < 64 * 1024 * 1024:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert spool.stat().st_size == 64 * 1024 * 1024
    assert runner.poll() is None
    kedge.start()

    assert runner.wait(60) == 0
    assert f"\n{text}all\n" in kedge.log


def test_a_build_can_be_ended_while_kedge_is_away_and_its_log_is_full(
    runners: Runners, kedge: FakeKedge, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    kedge.job |= {"build_command": f"echo $$ > {pid}; exec yes", "timeout": 5.0}
    runner = runners.start()
    kedge.until(lambda: kedge.statuses)
    kedge.stop()

    deadline = time.monotonic() + 60
    while not pid.exists() or (tmp_path / f"/proc/{pid.read_text().strip()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kedge.start()

    assert runner.wait(60) == 0
    assert kedge.verdict["failure"] == "timeout"


def test_the_first_line_does_not_wait_for_the_job(runners: Runners, kedge: FakeKedge) -> None:
    kedge.fault = lambda call: 503 if call.path.endswith("/job") else None
    runners.start()

    kedge.until(lambda: kedge.log == "Initializing build environment...\n")


def test_kedge_can_be_reached_by_a_unix_socket(runners: Runners, kedge: FakeKedge, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    kedge.stop()
    kedge.socket = path
    kedge.start()
    runners.endpoint = f"unix:{path}"

    verdict = runners.run(build_command="echo hello")

    assert verdict["outcome"] == "success"
    assert "hello\n" in kedge.log


def test_a_chunk_tells_when_it_was_printed(runners: Runners, kedge: FakeKedge) -> None:
    before = time.time_ns() // 1_000_000

    runners.run(build_command="echo a; sleep 1.2; echo b")

    after = time.time_ns() // 1_000_000
    assert before <= kedge.times[0] <= kedge.times[-1] <= after
    assert kedge.times[-1] - kedge.times[0] >= 1000


def test_many_lines_come_whole_in_chunks_of_a_bounded_size(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(build_command="seq 1 1000000")

    assert "\n1\n" + "".join(f"{number}\n" for number in range(2, 1_000_001)) in kedge.log
    assert len(kedge.chunks) > 5
    assert max(map(len, kedge.chunks)) <= 1024 * 1024


def test_no_chunk_ends_within_a_character(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(build_command="for i in 1 2 3; do printf '\\303'; sleep 0.1; printf '\\251'; done; echo")

    assert "ééé" in kedge.log
    for chunk in kedge.chunks:
        json.dumps(chunk.decode())


def test_any_bytes_survive(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(build_command="printf 'a\\000b\\377\\033[31mred\\033[0m 10%%\\r20%%\\r\\n'")

    assert b"a\0b\xff\x1b[31mred\x1b[0m 10%\r20%\r\n" in b"".join(kedge.chunks)


def test_a_line_of_many_megabytes_is_cut(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(build_command="head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after")

    assert "... [line cut: 3951424 bytes left out]\nafter\n" in kedge.log
    assert kedge.log_bytes < 1_100_000


def test_a_secret_printed_byte_by_byte_never_leaves_the_runner(runners: Runners, kedge: FakeKedge) -> None:
    secret = "correct-horse"
    spell = 'for c in c o r r e c t - h o r s e; do printf %s "$c"; sleep 0.03; done; echo'
    command = f'{spell}; echo "$S" | base64; printf "$S"'

    runners.run(build_command=command, variables={"S": secret}, secrets=[secret])

    assert "completed" in kedge.log
    everything = b"".join(call.body for call in kedge.calls)
    assert secret.encode() not in everything
    assert b"Y29ycmVjdC1ob3Jz" not in everything
    assert kedge.log.count("***") == 3


def test_a_secret_too_short_to_be_masked_is_named_but_not_shown(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(variables={"PIN": "#7", "OTHER": "x"}, secrets=["#7"])

    assert "Warning: the value of PIN is too short to be masked" in kedge.log
    assert "#7" not in kedge.log
    assert "OTHER" not in kedge.log
