"""One attempt, from its assignment to its report."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from kedge_runner.client import Client
from kedge_runner.command import Watch
from kedge_runner.errors import Cancelled, Failed, Refused, Stale, TimedOut
from kedge_runner.job import Job
from kedge_runner.log import Log
from kedge_runner.phases import Phases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DONE, STALE = 0, 3


def main() -> int:
    """Read the assignment, one line of JSON, from standard input, and do it."""
    return run(json.loads(sys.stdin.readline()))


def run(assignment: dict[str, Any]) -> int:
    """Do one attempt; return the exit code: 0 reported, 3 there was nobody to report to."""
    return Attempt(assignment).run()


class Attempt:
    """One attempt at a build."""

    def __init__(self, assignment: dict[str, Any]) -> None:
        """Say hello at once: the first line is on its way before the job is known."""
        self._cancelled = False
        signal.signal(signal.SIGTERM, self._cancel)
        prefix = f"/api/builds/{assignment['build_uuid']}"
        endpoint, token = str(assignment["endpoint"]), str(assignment["token"])
        self._number = assignment["attempt"]
        self._workspace = str(assignment["workspace"])
        self._token = token
        self._control = Client(endpoint, token, prefix, gives_up=lambda: self._cancelled)
        self._log = Log(
            Client(endpoint, token, prefix, gives_up=lambda: self._cancelled),
            os.path.join(self._workspace, "log.spool"),
        )
        self._log.say("Initializing build environment...")

    def run(self) -> int:
        """Work and report."""
        try:
            return self._work(Job(self._control.call("GET", "/job")))
        except (Stale, Refused):
            return STALE

    def _work(self, job: Job) -> int:
        self._log.mask([*job.secrets, self._token])
        watch = Watch(
            deadline=time.monotonic() + job.timeout,
            grace=job.stop_grace,
            cancelled=lambda: self._cancelled or self._log.cancel_requested,
        )
        phases = Phases(job, self._workspace, self._log, watch)
        verdict = self._judge(phases, job)
        verdict |= {"status": "stopped", "phases": phases.done, "chunks": self._log.close()}
        self._report(verdict)
        return DONE

    def _judge(self, phases: Phases, job: Job) -> dict[str, object]:
        try:
            phases.run(lambda: self._report({"status": "running"}))
        except Failed as error:
            self._log.say(f"Failed: {error}")
            outcome = "terminated" if error.failure == "out_of_memory" else "fail"
            return {
                "outcome": outcome,
                "failure": error.failure,
                "message": str(error),
                "exit_code": error.exit_code,
            }
        except Cancelled:
            self._log.say("Cancelled.")
            return {"outcome": "cancelled"}
        except TimedOut:
            message = f"it ran longer than {job.timeout:g} s"
            self._log.say(f"Failed: {message}")
            return {"outcome": "terminated", "failure": "timeout", "message": message}
        except OSError as error:
            message = f"the runner could not go on: {error}"
            self._log.say(f"Failed: {message}")
            return {"outcome": "fail", "failure": "internal", "message": message}
        return {"outcome": "success", "exit_code": 0}

    def _report(self, report: dict[str, object]) -> None:
        answer = self._control.call("PUT", "/status", {"attempt": self._number, **report})
        if isinstance(answer, dict) and answer.get("cancel"):
            self._cancelled = True

    def _cancel(self, _signal: int, _frame: object) -> None:
        self._cancelled = True
