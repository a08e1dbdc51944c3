"""Commands that do not end as they should, and what they leave behind."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.runner.conftest import FakeKedge, Runners


def is_running(pid_file: Path) -> bool:
    try:
        stat = Path(f"/proc/{int(pid_file.read_text())}/stat").read_bytes()
    except (FileNotFoundError, ValueError):  # it has not come to writing it down
        return False
    return stat.rpartition(b")")[2].split()[0] not in {b"Z", b"X"}


def milliseconds(verdict: dict[str, Any], name: str) -> int:
    return next(int(phase["duration_ms"]) for phase in verdict["phases"] if phase["name"] == name)


def test_children_that_hold_the_pipe_do_not_hold_up_the_build(
    runners: Runners, kedge: FakeKedge, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"

    verdict = runners.run(build_command=f"sleep 300 & echo $! > {pid}; echo done")

    assert verdict["outcome"] == "success"
    assert milliseconds(verdict, "build") < 100_000
    assert not is_running(pid)


def test_a_child_that_prints_for_ever_does_not_hold_up_the_build(runners: Runners, kedge: FakeKedge) -> None:
    kedge.keep_log = False
    verdict = runners.run(build_command="yes & echo begun; sleep 0.1", timeout=30)

    assert verdict["outcome"] == "success"


FORK_TWICE = """python3 -c '
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open("{pid}", "w").write(str(os.getpid()))
os.closerange(0, 9)
time.sleep(300)'; sleep 0.3"""


@pytest.mark.parametrize("escape", ["setsid sleep 300 >/dev/null 2>&1 & echo $! > {pid}", FORK_TWICE])
def test_a_daemon_is_ended_with_its_phase(
    runners: Runners, kedge: FakeKedge, tmp_path: Path, escape: str
) -> None:
    pid = tmp_path / "pid"

    # one that is killed may still wait for whoever has adopted it, as a zombie
    look = f"grep -s '^State' /proc/$(cat {pid})/status | grep -v Z || echo gone"

    verdict = runners.run(build_command=escape.format(pid=pid), deploy_command=look)

    assert verdict["outcome"] == "success"
    assert "\ngone\n" in kedge.log
    assert not is_running(pid)


def test_a_command_that_closes_its_output_is_waited_for(runners: Runners, kedge: FakeKedge) -> None:
    verdict = runners.run(build_command="exec >/dev/null 2>&1; sleep 0.5; exit 4")

    assert verdict["exit_code"] == 4
    assert milliseconds(verdict, "build") >= 500


def test_what_is_printed_last_is_there(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(build_command="(sleep 0.1; echo late) & echo first; printf 'no newline'")

    assert "first\n" in kedge.log
    assert "late\n" in kedge.log
    assert "no newline" in kedge.log
    assert "\nSuccess: Build command completed\n" in kedge.log


def test_a_build_that_runs_too_long_is_terminated(runners: Runners, kedge: FakeKedge) -> None:
    verdict = runners.run(build_command="echo begun; sleep 300", timeout=1.0)

    assert (verdict["outcome"], verdict["failure"]) == ("terminated", "timeout")
    assert "longer than" in verdict["message"]
    assert verdict["phases"][-1]["outcome"] == "terminated"


def test_what_ignores_the_request_to_end_is_killed(
    runners: Runners, kedge: FakeKedge, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    command = f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done"

    verdict = runners.run(build_command=command, timeout=0.5, stop_grace=1.0)

    assert verdict["failure"] == "timeout"
    assert not is_running(pid)


def test_a_cancelled_build_gets_the_time_to_say_goodbye(runners: Runners, kedge: FakeKedge) -> None:
    command = "trap 'echo tidy; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    kedge.job |= {"build_command": command, "stop_grace": 30.0}
    runner = runners.start()
    kedge.until(lambda: "begun\n" in kedge.log)

    runner.send_signal(signal.SIGTERM)

    assert runner.wait(60) == 0
    assert kedge.verdict["outcome"] == "cancelled"
    assert "tidy\n" in kedge.log
    assert kedge.log.endswith("Cancelled.\n")


def test_kedge_can_cancel_by_any_answer(runners: Runners, kedge: FakeKedge) -> None:
    kedge.job["build_command"] = "echo begun; sleep 1; echo more; sleep 300"
    runner = runners.start()
    kedge.until(lambda: "begun\n" in kedge.log)

    kedge.cancel = True

    assert runner.wait(60) == 0
    assert kedge.verdict["outcome"] == "cancelled"


def test_a_build_cancelled_before_its_job_came_never_starts(runners: Runners, kedge: FakeKedge) -> None:
    kedge.job["build_command"] = "echo never"
    kedge.fault = lambda call: 503 if call.path.endswith("/job") else None
    runner = runners.start()
    kedge.until(lambda: kedge.log)
    runner.send_signal(signal.SIGTERM)

    kedge.fault = lambda call: None

    assert runner.wait(60) == 0
    assert kedge.verdict["outcome"] == "cancelled"
    assert "never" not in kedge.log


def test_commands_get_no_input_and_usual_signals(runners: Runners, kedge: FakeKedge) -> None:
    verdict = runners.run(build_command="cat; yes | head -n 1; grep SigIgn /proc/self/status")

    assert verdict["outcome"] == "success"
    ignored = int(kedge.log.partition("SigIgn:")[2].split()[0], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_a_command_longer_than_the_kernel_takes_is_the_users_failure(
    runners: Runners, kedge: FakeKedge
) -> None:
    verdict = runners.run(build_command="true", variables={"BIG": "x" * 200_000})

    assert (verdict["outcome"], verdict["failure"]) == ("fail", "user")
